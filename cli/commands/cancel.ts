import { connectControlPlane } from "../control-plane/connect.ts";
import { findRun } from "../control-plane/find-run.ts";
import { openRun } from "../follow/run-handle.ts";
import { requireSettings, type InstanceOptions } from "../instance.ts";
import { toStderr, toStdout } from "../output.ts";
import { appFilter, type AppOptions } from "./app-filter.ts";

export type CancelOptions = InstanceOptions & AppOptions & { readonly force?: boolean };

/** Cancels a run and waits for its clean-up; `--force` terminates it without any. */
export async function cancel(run: string | undefined, options: CancelOptions): Promise<number> {
  const settings = requireSettings(options);
  await using controlPlane = await connectControlPlane(settings);
  const handle = openRun(controlPlane, await findRun(controlPlane, appFilter(settings, options), run));
  if (options.force === true) await handle.terminate("slipway cancel --force");
  else await handle.cancel();
  toStderr(`--> Waiting for ${handle.workflowId} to end\n`);
  const outcome = await handle.outcome(new AbortController().signal, () => undefined);
  if (outcome.kind === "deployed") {
    toStderr("The run had ended well before it could be cancelled\n");
    toStdout(`${handle.workflowId} live\n`);
    return 0;
  }
  toStdout(`${handle.workflowId} ${outcome.code === "CANCELLED" ? "cancelled" : `failed ${outcome.code}`}\n`);
  return 0;
}
