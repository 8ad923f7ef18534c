import { parseArgs } from "node:util";
import { median, rounded, spread } from "../median.ts";
import { type Arena, type Contestant, openArena } from "./contestants.ts";
import { inParallel } from "./in-parallel.ts";
import { createLayers } from "./layers.ts";
import { type Image, type LoadClient, type PushMode, createLoadClient } from "./load-client.ts";
import { cpuSeconds, peakRssBytes, resetPeak } from "./process-tree.ts";
import { requestRate } from "./request-rate.ts";
import { s3Ceiling } from "./s3-ceiling.ts";

const mebi = 1024 * 1024;
const layersPerImage = 3;

type Name = Contestant["name"];
type Figures = Record<Name, Record<string, number[]>>;

/**
 * Our registry beside CNCF distribution, each over a bucket of one S3 server, by one client, in turns: who goes first changes with each
 * round, so that what else the machine does hits both.
 *
 * `--size MIB` of a layer, `--rounds N`, `--push-size MIB` of each of the 16 pushes for the peak of memory, `--only SECTION`,
 * `--profile DIR` for CPU profiles of our registry.
 */
export async function run(args: readonly string[]): Promise<Record<string, unknown>> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      size: { type: "string", default: "100" },
      rounds: { type: "string", default: "3" },
      "push-size": { type: "string", default: "1024" },
      only: { type: "string", multiple: true },
      profile: { type: "string" },
    },
  });
  const rounds = Number(values.rounds);
  const layerBytes = Number(values.size) * mebi;
  const wants = (section: string) => values.only?.includes(section) ?? true;

  await using arena = await openArena(values.profile);
  const figures: Figures = { slipway: {}, distribution: {} };
  const note = (name: Name, what: string, value: number) => {
    (figures[name][what] ??= []).push(value);
    console.error(`${name.padEnd(12)} ${what.padEnd(28)} ${rounded(value, 1)}`);
  };
  const bench: Bench = { arena, rounds, layerBytes, note };
  await warmUp(bench);
  if (wants("memory")) await measurePeakMemory(bench, Number(values["push-size"]) * mebi);
  const ceiling = wants("ceiling") ? await measureCeiling(bench) : {};
  if (wants("push")) await measurePushAndPull(bench);
  if (wants("clients")) await measureManyClients(bench, 8);
  if (wants("rate")) await measureRequestRate(bench);
  for (const { name, pid } of [arena.slipway, arena.distribution]) note(name, "peak RSS MiB, whole bench", peakRssBytes(pid) / mebi);
  return { ...summary(figures), ceiling, layerMiB: Number(values.size), pushMiB: Number(values["push-size"]) };
}

type Bench = {
  readonly arena: Arena;
  readonly rounds: number;
  readonly layerBytes: number;
  readonly note: (name: Name, what: string, value: number) => void;
};

/** Also the proof that each stores what it is given. */
async function warmUp({ arena }: Bench): Promise<void> {
  const layers = createLayers(20 * mebi);
  for (const contestant of [arena.slipway, arena.distribution]) {
    using client = createLoadClient(contestant.url);
    for (const mode of ["patch", "put"] as const) {
      const image = newImage(layers);
      await client.push(image, mode, layersPerImage);
      await client.pull(image, layersPerImage);
      for (const layer of image.layers) await client.verify(image.repository, layer);
    }
  }
}

async function measureCeiling({ arena, rounds, layerBytes }: Bench): Promise<Record<string, unknown>> {
  const layers = createLayers(layerBytes);
  const up: number[] = [];
  const down: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const { upS, downS } = await s3Ceiling(arena.s3, newImage(layers).layers, layersPerImage);
    up.push(megabytes(layersPerImage * layerBytes) / upS);
    down.push(megabytes(layersPerImage * layerBytes) / downS);
  }
  return { upMBps: spread(up), downMBps: spread(down) };
}

async function measurePushAndPull(bench: Bench): Promise<void> {
  const layers = createLayers(bench.layerBytes);
  for (const mode of ["patch", "put"] as const) {
    for (const parallel of [1, 3]) {
      await inTurns(bench, async (contestant, client) => {
        const image = newImage(layers);
        await timed(bench, contestant, `push ${mode} parallel ${parallel}`, () =>
          client.push(image, mode, parallel).then(() => sizeOf(image)),
        );
        if (mode === "patch") await timed(bench, contestant, `pull parallel ${parallel}`, () => client.pull(image, parallel));
      });
    }
  }
}

async function measureManyClients(bench: Bench, clients: number): Promise<void> {
  const layers = createLayers(bench.layerBytes);
  await inTurns({ ...bench, rounds: Math.max(1, bench.rounds - 1) }, async (contestant, client) => {
    const images = Array.from({ length: clients }, () => newImage(layers));
    const all = async (act: (image: Image) => Promise<number>): Promise<number> => {
      const sizes = await Promise.all(images.map(act));
      return sizes.reduce((sum, bytes) => sum + bytes, 0);
    };
    const push = (image: Image, mode: PushMode) => client.push(image, mode, layersPerImage).then(() => sizeOf(image));
    await timed(bench, contestant, `push patch ${clients} clients`, () => all((image) => push(image, "patch")));
    await timed(bench, contestant, `pull ${clients} clients`, () => all((image) => client.pull(image, layersPerImage)));
  });
}

async function measureRequestRate(bench: Bench): Promise<void> {
  const options = { connections: 64, seconds: 2, accept: "application/vnd.oci.image.manifest.v1+json" };
  const layers = createLayers(mebi);
  const images = new Map<Name, Image>();
  await inTurns(
    bench,
    async (contestant, client) => {
      const image = images.get(contestant.name) ?? newImage(layers);
      if (!images.has(contestant.name)) await client.push(image, "put", 1);
      images.set(contestant.name, image);
      for (const method of ["HEAD", "GET"] as const) {
        const url = new URL(`/v2/${image.repository}/manifests/${image.tag}`, contestant.url);
        const { perSecond, medianMs } = await requestRate(method, url, options);
        bench.note(contestant.name, `${method} manifest per second`, perSecond);
        bench.note(contestant.name, `${method} manifest median ms`, medianMs);
      }
    },
    { keep: true },
  );
}

async function measurePeakMemory(bench: Bench, pushBytes: number): Promise<void> {
  const layers = createLayers(pushBytes);
  await inTurns({ ...bench, rounds: 1 }, async (contestant, client) => {
    resetPeak(contestant.pid);
    const pushes = Array.from({ length: 16 }, () => ({ ...newImage(layers, 1) }));
    await timed(bench, contestant, "push patch 16 at once", async () => {
      await inParallel(pushes.length, pushes, (image) => client.push(image, "patch", 1));
      return pushes.reduce((sum, image) => sum + sizeOf(image), 0);
    });
    bench.note(contestant.name, "peak RSS MiB, 16 pushes", peakRssBytes(contestant.pid) / mebi);
  });
}

/** Each contestant once per round, the other one first each time; what it stored is deleted before the other's turn. */
async function inTurns(
  { arena, rounds }: Bench,
  act: (contestant: Contestant, client: LoadClient) => Promise<void>,
  { keep = false } = {},
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const order = [arena.slipway, arena.distribution];
    for (const contestant of round % 2 === 0 ? order : order.toReversed()) {
      using client = createLoadClient(contestant.url);
      await act(contestant, client);
      if (!keep) await contestant.empty();
    }
  }
}

/** MB/s (10^6), and CPU seconds per GB of the registry and of the S3 server while it lasted. */
async function timed({ arena, note }: Bench, { name, pid }: Contestant, what: string, act: () => Promise<number>): Promise<void> {
  const [cpu, s3Cpu] = [cpuSeconds(pid), cpuSeconds(arena.s3Pid)];
  const startedAt = performance.now();
  const sizeBytes = await act();
  const seconds = (performance.now() - startedAt) / 1000;
  note(name, `${what} MB/s`, megabytes(sizeBytes) / seconds);
  note(name, `${what} CPU s/GB`, (cpuSeconds(pid) - cpu) / (sizeBytes / 1e9));
  note(name, `${what} S3 CPU s/GB`, (cpuSeconds(arena.s3Pid) - s3Cpu) / (sizeBytes / 1e9));
}

function summary(figures: Figures): Record<string, unknown> {
  const names = Object.keys(figures.slipway);
  const spreads = (of: Name) => Object.fromEntries(names.map((what) => [what, spread(figures[of][what]!, digitsOf(what))]));
  const ratio = (what: string) => rounded(median(figures.slipway[what]!) / median(figures.distribution[what]!), 2);
  return {
    slipway: spreads("slipway"),
    distribution: spreads("distribution"),
    slipwayToDistribution: Object.fromEntries(names.map((what) => [what, ratio(what)])),
    aim: { pushAndPull: 1.5, manifestsPerSecond: 1, peakRssMiB: 256 },
  };
}

const digitsOf = (what: string): number => (/CPU|ms$/.test(what) ? 2 : 0);
const megabytes = (bytes: number): number => bytes / 1e6;
const sizeOf = ({ layers }: Image): number => layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

let images = 0;
function newImage(layers: ReturnType<typeof createLayers>, count = layersPerImage): Image {
  images += 1;
  return { repository: `bench/app${images}`, tag: "latest", layers: Array.from({ length: count }, layers) };
}
