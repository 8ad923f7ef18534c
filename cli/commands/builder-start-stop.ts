import { formatDurationMs } from "../../config/duration.ts";
import type { WokenFrom } from "../../builder/builders.ts";
import { askGate } from "../builder/gate-client.ts";
import { gateTarget } from "../builder/gate-target.ts";
import { printResult, toStdout } from "../output.ts";
import { abortOnSignals } from "./abort-on-signals.ts";
import type { BuilderOptions } from "./builder-status.ts";

/** Wakes the org's builder and waits until it answers. */
export async function builderStart({ output, ...options }: BuilderOptions): Promise<number> {
  using stop = abortOnSignals();
  const target = gateTarget(options, process.env);
  const startedMs = Date.now();
  const { wokenFrom } = await askGate<{ wokenFrom: WokenFrom }>(target, { method: "POST", path: "/start" }, stop.signal);
  if (output === "text") {
    const how = wokenFrom === "running" ? "ran already" : `answers after ${formatDurationMs(Date.now() - startedMs)}; it was ${wokenFrom}`;
    toStdout(`The builder of "${target.org}" ${how}\n`);
  } else printResult(output, { org: target.org, woken_from: wokenFrom });
  return 0;
}

/** Stops it, unless it is in use; its cache stays. */
export async function builderStop({ output, ...options }: BuilderOptions): Promise<number> {
  using stop = abortOnSignals();
  const target = gateTarget(options, process.env);
  await askGate(target, { method: "POST", path: "/stop" }, stop.signal);
  if (output === "text") toStdout(`The builder of "${target.org}" is stopped; its cache is kept\n`);
  else printResult(output, { org: target.org, state: "stopped" });
  return 0;
}
