import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";
import { median, rounded, spread } from "../median.ts";
import { inParallel } from "../registry/in-parallel.ts";
import { type Layer, createLayers } from "../registry/layers.ts";
import { type Image, createLoadClient } from "../registry/load-client.ts";
import { cpuSeconds, endedChildrenCpuSeconds, peakRssBytes, resetPeak } from "../registry/process-tree.ts";
import { type MirrorHost, openMirrorHost } from "./mirror-host.ts";

const mebi = 1024 * 1024;
const layersPerImage = 3;
const pushesAtOnce = 16;

/**
 * Blobs pushed to the mirror beside `ctr content ingest` of the same bytes, on one containerd and in turns: who goes first changes with
 * each round, so that what else the machine does hits both. Then the mirror's peak memory at 16 pushes at once, twice.
 *
 * `--size MIB` of a layer, `--rounds N`, `--push-size MIB` of each of the 16 pushes and `--passes N` of them, `--only SECTION` (speed, memory), `--profile DIR`
 * for a CPU profile of the mirror.
 */
export async function run(args: readonly string[]): Promise<Record<string, unknown>> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      size: { type: "string", default: "100" },
      rounds: { type: "string", default: "5" },
      "push-size": { type: "string", default: "1024" },
      passes: { type: "string", default: "2" },
      only: { type: "string", multiple: true },
      profile: { type: "string" },
    },
  });
  const wants = (section: string) => values.only?.includes(section) ?? true;
  await using host = await openMirrorHost(values.profile);
  await measureSpeed(host, { layerBytes: 8 * mebi, rounds: 1 });
  return {
    ...(wants("speed") ? await measureSpeed(host, { layerBytes: Number(values.size) * mebi, rounds: Number(values.rounds) }) : {}),
    ...(wants("memory") ? { memory: await measureMemory(host, Number(values["push-size"]) * mebi, Number(values.passes)) } : {}),
    aim: { toIngest: 0.9, peakRssMiB: 256 },
    layerMiB: Number(values.size),
    pushMiB: Number(values["push-size"]),
  };
}

type Measured = { readonly mbps: number[]; readonly clientCpu: number[]; readonly ownCpu: number[]; readonly containerdCpu: number[] };

async function measureSpeed(host: MirrorHost, { layerBytes, rounds }: { layerBytes: number; rounds: number }) {
  const newLayer = createLayers(layerBytes);
  const figures: Record<string, unknown> = {};
  for (const parallel of [1, layersPerImage]) {
    const push = emptyMeasured();
    const ingest = emptyMeasured();
    for (let round = 0; round < rounds; round++) {
      const image = newImage(host, Array.from({ length: layersPerImage }, newLayer));
      const turns = [
        () => timed(host, push, () => pushOnce(host, image, parallel)),
        () => ingestOnce(host, ingest, image.layers, parallel),
      ];
      for (const turn of round % 2 === 0 ? turns : turns.toReversed()) await turn();
      await host.empty();
      console.error(`parallel ${parallel} round ${round + 1}: push ${last(push.mbps)} MB/s, ingest ${last(ingest.mbps)} MB/s`);
    }
    figures[`parallel ${parallel}`] = {
      push: spreads(push),
      ingest: spreads(ingest),
      toIngest: rounded(median(push.mbps) / median(ingest.mbps), 2),
    };
  }
  return figures;
}

async function pushOnce({ mirror }: MirrorHost, image: Image, parallel: number): Promise<number> {
  using client = createLoadClient(mirror.url);
  await client.pushBlobs(image, "patch", parallel);
  return sizeOf(image.layers);
}

/** The files are in the page cache, having just been written; `ctr` reads them as its standard input. */
async function ingestOnce(host: MirrorHost, figures: Measured, layers: readonly Layer[], parallel: number): Promise<void> {
  const files = new Map<Layer, string>();
  for (const [index, layer] of layers.entries()) {
    const file = path.join(host.dir, `layer-${index}`);
    await writeLayer(file, layer);
    files.set(layer, file);
  }
  await timed(host, figures, async () => {
    await inParallel(parallel, layers, (layer) =>
      host.ctr(
        ["content", "ingest", "--expected-digest", layer.digest, "--expected-size", String(layer.sizeBytes), layer.digest],
        files.get(layer),
      ),
    );
    return sizeOf(layers);
  });
  for (const file of files.values()) await rm(file);
}

/** Notes MB/s (10^6), and CPU seconds per GB of client, mirror and containerd while it lasted. */
async function timed({ mirror, containerd }: MirrorHost, figures: Measured, act: () => Promise<number>): Promise<void> {
  const cpu = () => {
    const [all, own, daemon] = [cpuSeconds(process.pid), cpuSeconds(mirror.pid), cpuSeconds(containerd.pid)];
    // the client is this process, or `ctr`, which has ended by then
    return [all - own - daemon + endedChildrenCpuSeconds(process.pid), own, daemon];
  };
  const before = cpu();
  const startedAt = performance.now();
  const sizeBytes = await act();
  const seconds = (performance.now() - startedAt) / 1000;
  const [client, own, daemon] = cpu().map((value, index) => (value - before[index]!) / (sizeBytes / 1e9));
  figures.mbps.push(rounded(sizeBytes / 1e6 / seconds));
  figures.clientCpu.push(client!);
  figures.ownCpu.push(own!);
  figures.containerdCpu.push(daemon!);
}

/** More than once, as what grows with each pass would be a leak. */
async function measureMemory(host: MirrorHost, pushBytes: number, count: number): Promise<Record<string, unknown>> {
  const newLayer = createLayers(pushBytes);
  const { mirror } = host;
  const passes: Record<string, number>[] = [];
  for (let pass = 0; pass < count; pass++) {
    resetPeak(mirror.pid);
    const images = Array.from({ length: pushesAtOnce }, () => newImage(host, [newLayer()]));
    const startedAt = performance.now();
    await Promise.all(images.map((image) => pushOnce(host, image, 1)));
    const mbps = (pushBytes * pushesAtOnce) / 1e3 / (performance.now() - startedAt);
    const peakRssMiB = peakRssBytes(mirror.pid) / mebi;
    await host.empty();
    resetPeak(mirror.pid);
    passes.push({ mbps: rounded(mbps), peakRssMiB: rounded(peakRssMiB), afterwardsRssMiB: rounded(peakRssBytes(mirror.pid) / mebi) });
    console.error(`memory pass ${pass + 1}: ${JSON.stringify(passes.at(-1))}`);
  }
  return { pushesAtOnce, passes };
}

async function writeLayer(file: string, layer: Layer): Promise<void> {
  const stream = createWriteStream(file);
  for (const chunk of layer.chunks()) if (!stream.write(chunk)) await once(stream, "drain");
  stream.end();
  await once(stream, "finish");
}

let images = 0;
function newImage({ mirror }: MirrorHost, layers: readonly Layer[]): Image {
  images += 1;
  return { repository: `${mirror.org}/app${images}`, tag: "latest", layers };
}

const emptyMeasured = (): Measured => ({ mbps: [], clientCpu: [], ownCpu: [], containerdCpu: [] });
const last = (values: readonly number[]): number => values.at(-1) ?? 0;
const sizeOf = (layers: readonly Layer[]): number => layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

function spreads({ mbps, clientCpu, ownCpu, containerdCpu }: Measured): Record<string, unknown> {
  return {
    mbps: spread(mbps),
    clientCpuSecondsPerGb: spread(clientCpu, 2),
    mirrorCpuSecondsPerGb: spread(ownCpu, 2),
    containerdCpuSecondsPerGb: spread(containerdCpu, 2),
  };
}
