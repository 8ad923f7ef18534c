import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { builderMachineId } from "../../machines/types.ts";
import { rounded } from "../median.ts";
import { openByHand } from "./by-hand.ts";
import { type WakeHost, openWakeHost } from "./host.ts";
import { idleCost, isGone } from "./idle-cost.ts";

const [org, freshOrg] = ["bench", "fresh"];

/**
 * From wanting the org's builder to its first answer: frozen, stopped, and without a machine or a cache; beside `runc run` of the same
 * buildkitd by hand, in turns. Then what one costs that sleeps.
 *
 * `--rounds N`
 */
export async function run(args: readonly string[]): Promise<Record<string, unknown>> {
  const { values } = parseArgs({ args: [...args], options: { rounds: { type: "string", default: "20" } } });
  const signal = AbortSignal.timeout(30 * 60_000);
  await using host = await openWakeHost([org, freshOrg], signal);
  const { builders } = host;
  const wake = async (from: string, of = org): Promise<number> => {
    await settled();
    const startedAtMs = performance.now();
    const { wokenFrom } = await builders.wake(of, { signal });
    const tookMs = performance.now() - startedAtMs;
    if (wokenFrom !== from) throw new Error(`Expected a builder to be woken that is ${from}: it was ${wokenFrom}`);
    return tookMs;
  };

  const firstOfOrgMs = await wake("absent", freshOrg);
  await builders.discard(freshOrg, { dropCache: true, force: true }, signal);
  await wake("absent");
  await using byHand = await openByHand(host, org, signal);
  const ways: Readonly<Record<string, () => Promise<number>>> = {
    suspended: async () => (await builders.suspend(org, signal), wake("suspended")),
    stopped: async () => (await builders.sleep(org, signal), wake("stopped")),
    "by hand": async () => (await settled(), byHand.start(signal)),
    cold: async () => (await builders.discard(org, { dropCache: true, force: false }, signal), wake("absent")),
    "by hand, no cache": async () => (await byHand.dropCache(), await settled(), byHand.start(signal)),
  };
  const figures: Record<string, number[]> = {};
  const rounds = Number(values.rounds);
  // round 0 warms up
  for (let round = 0; round <= rounds; round++) {
    const names = Object.keys(ways);
    for (const name of [...names.slice(round % names.length), ...names.slice(0, round % names.length)]) {
      const tookMs = await ways[name]!();
      if (name.startsWith("by hand")) await byHand.stop(signal);
      if (round > 0) (figures[name] ??= []).push(tookMs);
    }
    console.error(
      `round ${round}: ${JSON.stringify(Object.fromEntries(Object.entries(figures).map(([name, ms]) => [name, rounded(ms.at(-1)!)])))}`,
    );
  }
  const ratio = (what: string, to: string, share: number) =>
    rounded(percentile(figures[what]!, share) / percentile(figures[to]!, share), 2);
  return {
    rounds,
    ms: Object.fromEntries(
      Object.entries(figures).map(([name, ms]) => [name, { p50: rounded(percentile(ms, 0.5)), p95: rounded(percentile(ms, 0.95)) }]),
    ),
    firstOfOrgMs: rounded(firstOfOrgMs),
    stoppedToByHand: { p50: ratio("stopped", "by hand", 0.5), p95: ratio("stopped", "by hand", 0.95) },
    coldToByHand: { p50: ratio("cold", "by hand, no cache", 0.5), p95: ratio("cold", "by hand, no cache", 0.95) },
    aim: { stoppedToByHand: 1.15 },
    idle: await measureIdle(host, signal),
  };
}

/** Nobody wants a builder in the moment after its end, while containerd still clears away behind it. */
const settled = (): Promise<void> => sleep(500);

async function measureIdle({ builders, machines }: WakeHost, signal: AbortSignal): Promise<Record<string, unknown>> {
  await builders.wake(org, { signal });
  const pid = (await machines.inspect(org, builderMachineId, signal))!.pid!;
  const awake = await idleCost(pid);
  await builders.suspend(org, signal);
  const suspended = await idleCost(pid);
  await builders.sleep(org, signal);
  return { awake, suspended, stoppedHasProcesses: !(await isGone(pid, awake.shim)) };
}

/** Of an even number the lower one, as `median` does: a figure that was measured. */
function percentile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1]!;
}
