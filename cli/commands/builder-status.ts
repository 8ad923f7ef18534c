import type { BuilderView } from "../../builder/gate/builder-view.ts";
import { askGate } from "../builder/gate-client.ts";
import { gateTarget, type GateOptions } from "../builder/gate-target.ts";
import { printLines, printResult, toStdout, type OutputFormat } from "../output.ts";
import { builderJson, builderLines } from "../render/builder.ts";
import { abortOnSignals } from "./abort-on-signals.ts";

export type BuilderOptions = GateOptions & { readonly output: OutputFormat };

/** What the org's builder does, and what it takes; wakes nothing. */
export async function builderStatus(options: BuilderOptions): Promise<number> {
  using stop = abortOnSignals();
  const view = await askGate<BuilderView>(gateTarget(options, process.env), { method: "GET", path: "" }, stop.signal);
  if (options.output === "text") printLines(toStdout, builderLines(view, Date.now()));
  else printResult(options.output, builderJson(view));
  return 0;
}
