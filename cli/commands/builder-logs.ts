import { createInterface } from "node:readline";
import { presentableLine } from "../../config/strip-control.ts";
import { streamFromGate } from "../builder/gate-client.ts";
import { gateTarget, type GateOptions } from "../builder/gate-target.ts";
import { toStdout } from "../output.ts";
import { abortOnSignals } from "./abort-on-signals.ts";

export type BuilderLogsOptions = GateOptions & {
  readonly follow?: boolean;
  readonly lines: number;
  readonly output: "text" | "json" | "jsonl";
};

/** What buildkitd itself has said; a build's own log is with its run. */
export async function builderLogs({ follow = false, lines, output, ...options }: BuilderLogsOptions): Promise<number> {
  using stop = abortOnSignals();
  const path = `/log?tail=${lines}${follow ? "&follow=1" : ""}`;
  const log = await streamFromGate(gateTarget(options, process.env), { method: "GET", path }, stop.signal);
  try {
    for await (const line of createInterface({ input: log, crlfDelay: Infinity })) {
      toStdout(output === "text" ? `${presentableLine(line)}\n` : `${JSON.stringify({ schema_version: 1, line })}\n`);
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
  return 0;
}
