import { parseDurationMs } from "../../config/duration.ts";
import { parseMemoryMb } from "../../config/memory-size.ts";
import type { PruneResult } from "../../builder/cache-usage.ts";
import { askGate } from "../builder/gate-client.ts";
import { gateTarget } from "../builder/gate-target.ts";
import { CliError } from "../errors.ts";
import { printResult, toStdout } from "../output.ts";
import { sizeOf } from "../render/table.ts";
import { abortOnSignals } from "./abort-on-signals.ts";
import type { BuilderOptions } from "./builder-status.ts";

export type BuilderPruneOptions = BuilderOptions & { readonly all?: boolean; readonly keepFor?: string; readonly keep?: string };

/** BuildKit's own prune; wakes the builder. */
export async function builderPrune({ all = false, keepFor, keep, output, ...options }: BuilderPruneOptions): Promise<number> {
  using stop = abortOnSignals();
  const body = {
    all,
    ...(keepFor === undefined ? {} : { keepForMs: requireParsed("--keep-for", keepFor, parseDurationMs, 'a duration such as "24h"') }),
    ...(keep === undefined ? {} : { keepBytes: requireParsed("--keep", keep, parseMemoryMb, 'a size such as "5gb"') * 1024 * 1024 }),
  };
  const target = gateTarget(options, process.env);
  const { records, freedBytes } = await askGate<PruneResult>(target, { method: "POST", path: "/prune", body }, stop.signal);
  if (output === "text") toStdout(`${sizeOf(freedBytes)} freed: ${records} records of the cache of "${target.org}"\n`);
  else printResult(output, { org: target.org, records, freed_bytes: freedBytes });
  return 0;
}

function requireParsed(option: string, text: string, parse: (text: string) => number | undefined, expected: string): number {
  const value = parse(text);
  if (value !== undefined) return value;
  throw new CliError(`Cannot read ${option} "${text}": expected ${expected}`);
}
