import { isRepository } from "../../oci/repository.ts";
import { workflowIds } from "../../workflows/ids.ts";
import type { ScrubInput, ScrubReport } from "../../workflows/types.ts";
import { connectControlPlane } from "../control-plane/connect.ts";
import { endOf, startRegistryWork } from "../control-plane/start-registry-work.ts";
import { CliError } from "../errors.ts";
import { exitCodeOf } from "../exit-codes.ts";
import { requireSettings, type InstanceOptions } from "../instance.ts";
import { printJson, printLines, toStderr, toStdout, type OutputFormat } from "../output.ts";
import { scrubHints, scrubJson, scrubLines } from "../render/scrub.ts";

export type RegistryScrubOptions = InstanceOptions & {
  readonly repository?: string;
  readonly quarantine?: boolean;
  readonly output: OutputFormat;
};

/** Hashes what the registry stores and reports each damage; ends with 13 when there is any. */
export async function registryScrub({ repository, quarantine = false, output, ...options }: RegistryScrubOptions): Promise<number> {
  if (repository !== undefined && !isRepository(repository)) {
    throw new CliError(`Cannot scrub "${repository}": expected a repository such as default/web`);
  }
  const settings = requireSettings(options);
  await using controlPlane = await connectControlPlane(settings, "; nothing was looked at");
  const handle = await startRegistryWork<ScrubInput, ScrubReport>(controlPlane, {
    workflowType: "scrubRegistry",
    workflowId: workflowIds.scrubRegistry(repository, quarantine),
    input: { quarantine, ...(repository === undefined ? {} : { repository }) },
    summary: `registry: scrub ${repository ?? "everything"}${quarantine ? ", quarantine what is damaged" : ""}`,
  });
  const ui = controlPlane.uiOf(handle.workflowId);
  if (output === "text") toStderr(`==> ${handle.workflowId}\n    ${ui}\n`);
  const report = await endOf(controlPlane, handle);
  if (repository !== undefined && report.links + report.manifests + report.tags + report.damaged === 0) {
    throw new CliError(`Cannot scrub "${repository}": the registry holds nothing of it`, { tryCommand: "slipway registry scrub" });
  }
  if (output === "text") {
    printLines(toStdout, scrubLines(report));
    printLines(toStderr, scrubHints(report));
  } else printJson({ schema_version: 1, workflow_id: handle.workflowId, ...scrubJson(report), links: { ui } });
  return exitCodeOf({ kind: report.damaged === 0 ? "done" : "damaged" });
}
