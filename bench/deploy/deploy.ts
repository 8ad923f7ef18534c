import { setTimeout as sleep } from "node:timers/promises";
import { orgNamespace } from "../../config/paths.ts";
import { openContainerd, orUndefined } from "../../containerd/client.ts";
import { tinyApp } from "../../test/support/apps.ts";
import { slipway } from "../../test/support/slipway.ts";
import { type TestStack, startTestStack } from "../../test/support/stack.ts";
import { median, rounded, spread } from "../median.ts";
import { openRawBaseline } from "./raw-baseline.ts";

type Steps = Record<string, number[]>;

/**
 * A fully cached deploy with the builder asleep, by `slipway deploy` and by the raw shell script beside this file, in turn, on one
 * containerd. Both end when the new machine has answered over HTTP.
 */
export async function run(args: readonly string[]): Promise<Record<string, unknown>> {
  const runs = Number(args[0] ?? 9);
  await using stack = await startTestStack((settings) => ({
    ...settings,
    builder: { ...settings.builder, idleTimeoutMs: 500, whenIdle: "stop" as const },
  }));
  await using app = await tinyApp("bench", "bench");
  await must(slipway(stack.dataDir, ["image", "bases", "busybox"]));
  await deployOnce(stack, app.dir);
  await using raw = await openRawBaseline(stack, app.dir);
  await raw.once();

  const slipwaySteps: Steps = {};
  const rawSteps: Steps = {};
  for (let index = 0; index < runs; index++) {
    await builderAsleep(stack);
    add(slipwaySteps, await deployOnce(stack, app.dir));
    await builderAsleep(stack);
    await sleep(1000);
    add(rawSteps, await raw.once());
    console.error(`run ${index + 1}/${runs}: slipway ${slipwaySteps.total!.at(-1)} ms, raw ${rawSteps.total!.at(-1)} ms`);
  }

  const ratio = (of: number[]) => rounded(median(of) / median(rawSteps.total!), 2);
  return {
    slipwayMs: spreads(slipwaySteps),
    rawMs: spreads(rawSteps),
    totalToRaw: ratio(slipwaySteps.total!),
    runToRaw: ratio(slipwaySteps.run!),
    aim: { totalToRaw: 1.3, totalMs: 2000 },
  };
}

/** `total`: the command from start to exit; `run`: the workflow; then the run's steps. */
async function deployOnce(stack: TestStack, dir: string): Promise<Record<string, number>> {
  const startedAt = performance.now();
  const { stdout } = await must(slipway(stack.dataDir, ["deploy", dir, "-o", "json", "-q"]));
  const total = Math.round(performance.now() - startedAt);
  const { steps } = JSON.parse(stdout) as { steps: { name: string; started_at?: string; duration_ms?: number }[] };
  const ends = steps.map((step) => Date.parse(step.started_at ?? "") + (step.duration_ms ?? 0));
  const runMs = Math.max(...ends) - Date.parse(steps[0]!.started_at ?? "");
  return { total, run: runMs, ...Object.fromEntries(steps.map(({ name, duration_ms }) => [name, duration_ms ?? 0])) };
}

async function builderAsleep(stack: TestStack): Promise<void> {
  await using containerd = openContainerd(stack.settings.containerd.socket);
  const { tasks } = containerd.namespace(orgNamespace(stack.settings.defaultOrg));
  while ((await orUndefined(tasks.get({ containerId: "builder" }))) !== undefined) await sleep(50);
}

async function must(ended: ReturnType<typeof slipway>): Promise<Awaited<ReturnType<typeof slipway>>> {
  const result = await ended;
  if (result.code !== 0) throw new Error(`slipway ended with ${result.code}: ${result.stderr}`);
  return result;
}

function add(steps: Steps, measured: Record<string, number>): void {
  for (const [name, ms] of Object.entries(measured)) (steps[name] ??= []).push(ms);
}

const spreads = (steps: Steps) => Object.fromEntries(Object.entries(steps).map(([name, values]) => [name, spread(values)]));
