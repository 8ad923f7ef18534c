import { createInterface } from "node:readline/promises";
import { askGate } from "../builder/gate-client.ts";
import { gateTarget } from "../builder/gate-target.ts";
import { CliError } from "../errors.ts";
import { printResult, toStdout } from "../output.ts";
import { abortOnSignals } from "./abort-on-signals.ts";
import type { BuilderOptions } from "./builder-status.ts";

export type BuilderRecreateOptions = BuilderOptions & { readonly dropCache?: boolean; readonly force?: boolean; readonly yes?: boolean };

/** A new builder in place of the org's; with the cache of the old one, unless that is dropped, which is asked about. */
export async function builderRecreate({
  dropCache = false,
  force = false,
  yes = false,
  output,
  ...options
}: BuilderRecreateOptions): Promise<number> {
  using stop = abortOnSignals();
  const target = gateTarget(options, process.env);
  if (dropCache && !yes) await confirm(`Drop the whole build cache of "${target.org}"?`, stop.signal);
  await askGate(target, { method: "POST", path: "/recreate", body: { dropCache, force } }, stop.signal);
  if (output === "text") toStdout(`The builder of "${target.org}" is a new one; its cache is ${dropCache ? "empty" : "kept"}\n`);
  else printResult(output, { org: target.org, cache: dropCache ? "dropped" : "kept" });
  return 0;
}

/** @throws CliError unless somebody says yes. */
async function confirm(question: string, signal: AbortSignal): Promise<void> {
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new CliError("Cannot ask whether to drop the cache: this is no terminal; nothing was done", {
      tryCommand: "slipway builder recreate --drop-cache -y",
    });
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${question} [y/N] `, { signal });
    if (!/^y(es)?$/i.test(answer.trim())) throw new CliError("Nothing was done: it was not confirmed");
  } finally {
    terminal.close();
  }
}
