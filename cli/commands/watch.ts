import { connectControlPlane } from "../control-plane/connect.ts";
import { findRun } from "../control-plane/find-run.ts";
import { exitCodeOf } from "../exit-codes.ts";
import { followAndReport } from "../follow/follow-and-report.ts";
import { requireSettings, type InstanceOptions } from "../instance.ts";
import { toStderr, type OutputOptions } from "../output.ts";
import { readTimeout } from "./deploy.ts";
import { appFilter, type AppOptions } from "./app-filter.ts";

export type WatchOptions = InstanceOptions &
  AppOptions &
  OutputOptions & { readonly waitFor: "deployed" | "replicated"; readonly timeout?: string };

/** Re-attaches to a run, and ends as its `deploy` would have. */
export async function watch(run: string | undefined, options: WatchOptions): Promise<number> {
  const timeoutMs = readTimeout(options.timeout);
  const settings = requireSettings(options);
  await using controlPlane = await connectControlPlane(settings);
  const workflowId = await findRun(controlPlane, appFilter(settings, options), run);
  if (options.quiet !== true && options.output !== "jsonl") toStderr(`==> Run ${workflowId}\n    ${controlPlane.uiOf(workflowId)}\n`);
  return exitCodeOf(
    await followAndReport(settings, controlPlane, workflowId, { ...options, ...(timeoutMs === undefined ? {} : { timeoutMs }) }),
  );
}
