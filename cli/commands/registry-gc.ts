import { garbageSettings } from "../../config/garbage-settings.ts";
import { workflowIds } from "../../workflows/ids.ts";
import type { CollectGarbageInput, GarbageReport } from "../../workflows/types.ts";
import { connectControlPlane } from "../control-plane/connect.ts";
import { endOf, startRegistryWork } from "../control-plane/start-registry-work.ts";
import { requireSettings, type InstanceOptions } from "../instance.ts";
import { printJson, printLines, toStderr, toStdout, type OutputFormat } from "../output.ts";
import { garbageJson, garbageLines } from "../render/garbage.ts";

export type RegistryGcOptions = InstanceOptions & { readonly dryRun?: boolean; readonly wait?: boolean; readonly output: OutputFormat };

/** One pass of the registry's garbage collection, beside the scheduled ones. */
export async function registryGc({ dryRun = false, wait = false, output, ...options }: RegistryGcOptions): Promise<number> {
  const settings = requireSettings(options);
  await using controlPlane = await connectControlPlane(settings, "; nothing was collected");
  const handle = await startRegistryWork<CollectGarbageInput, GarbageReport>(controlPlane, {
    workflowType: "collectGarbage",
    workflowId: workflowIds.collectGarbage(dryRun),
    input: { dryRun, graceMs: garbageSettings(settings).graceMs },
    summary: `registry: collect garbage${dryRun ? " (dry run)" : ""}`,
  });
  const { workflowId } = handle;
  const ui = controlPlane.uiOf(workflowId);
  if (!dryRun && !wait) {
    if (output === "text") printLines(toStdout, [`${workflowId} started`, ui]);
    else printJson({ schema_version: 1, workflow_id: workflowId, links: { ui } });
    return 0;
  }
  if (output === "text") toStderr(`==> ${workflowId}\n    ${ui}\n`);
  const report = await endOf(controlPlane, handle);
  if (output === "text") printLines(toStdout, garbageLines(report));
  else printJson({ schema_version: 1, workflow_id: workflowId, ...garbageJson(report), links: { ui } });
  return 0;
}
