import type { Settings } from "../config/settings.ts";
import { engineChecks } from "./doctor/engine-checks.ts";
import { hostChecks } from "./doctor/host-checks.ts";
import { stackChecks } from "./doctor/stack-checks.ts";
import type { Check } from "./doctor/check.ts";

export type { Check } from "./doctor/check.ts";

/** Looks at everything a deploy rests on, each thing by itself: one that fails hides no other. Without settings only at the host. */
export async function runDoctor(settings: Settings | undefined, signal: AbortSignal): Promise<Check[]> {
  const groups = settings === undefined ? [hostChecks(undefined)] : [hostChecks(settings), engineChecks(settings), stackChecks(settings)];
  const checks = await Promise.all(groups.flat().map(async (check) => await check(signal)));
  if (settings !== undefined) return checks;
  return [...checks, { name: "instance", ok: false, detail: "nothing is set up on this host yet", fix: "slipway up" }];
}
