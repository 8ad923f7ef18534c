import { pruneSettings } from "../../config/prune-settings.ts";
import { workflowIds } from "../../workflows/ids.ts";
import type { PruneHostInput, PruneReport } from "../../workflows/prune-types.ts";
import { connectControlPlane } from "../control-plane/connect.ts";
import { endOf, startRegistryWork } from "../control-plane/start-registry-work.ts";
import { CliError } from "../errors.ts";
import { requireSettings, type InstanceOptions } from "../instance.ts";
import { printJson, printLines, toStderr, toStdout, type OutputFormat } from "../output.ts";
import { pruneJson, pruneLines } from "../render/prune.ts";

export type ImagePruneOptions = InstanceOptions & {
  readonly dryRun?: boolean;
  readonly host?: string;
  readonly keep?: number;
  readonly output: OutputFormat;
};

/** One prune of a host's images, beside the scheduled ones; waits for its end. */
export async function imagePrune({ dryRun = false, keep, output, ...options }: ImagePruneOptions): Promise<number> {
  const settings = requireSettings(options);
  const host = options.host ?? settings.hostId;
  if (host !== settings.hostId) {
    throw new CliError(`Cannot prune host "${host}": this instance has the host "${settings.hostId}" and no other`, {
      outcome: { kind: "usage" },
      tryCommand: `slipway image prune --host ${settings.hostId}`,
    });
  }
  const { everyMs: _everyMs, ...policy } = pruneSettings(settings);
  await using controlPlane = await connectControlPlane(settings, "; nothing was removed");
  const handle = await startRegistryWork<PruneHostInput, PruneReport>(controlPlane, {
    workflowType: "pruneHost",
    workflowId: workflowIds.pruneHost(host, dryRun),
    input: { host, dryRun, policy: { ...policy, ...(keep === undefined ? {} : { keepReleases: keep }) } },
    summary: `prune the images of host ${host}${dryRun ? " (dry run)" : ""}`,
  });
  const { workflowId } = handle;
  const ui = controlPlane.uiOf(workflowId);
  if (output === "text") toStderr(`==> ${workflowId}\n    ${ui}\n`);
  const report = await endOf(controlPlane, handle);
  if (output === "text") printLines(toStdout, pruneLines(report));
  else printJson({ schema_version: 1, workflow_id: workflowId, ...pruneJson(report), links: { ui } });
  return 0;
}
