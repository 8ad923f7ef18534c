import { writeFile } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { orgNamespace } from "../../config/paths.ts";
import { putImage } from "../../containerd/images.ts";
import { hasCommittedSnapshot } from "../../containerd/snapshots.ts";
import type { Digest } from "../../oci/digest.ts";
import { mediaTypes } from "../../oci/media-types.ts";
import { median, rounded, spread } from "../median.ts";
import { type MirrorHost, openMirrorHost } from "../push/mirror-host.ts";
import { inParallel } from "../registry/in-parallel.ts";
import { createLoadClient } from "../registry/load-client.ts";
import { type MachineImage, makeMachineImage } from "./machine-image.ts";

const snapshotter = "overlayfs";
const layersAtOnce = 3;

/**
 * From the first byte of a push to the moment a machine can start, beside `ctr content ingest` of the same bytes and then
 * `ctr snapshots unpack`, on one containerd and in turns. Each turn begins with none of it there.
 *
 * `--rounds N`, `--profile DIR` for a CPU profile of the mirror.
 */
export async function run(args: readonly string[]): Promise<Record<string, unknown>> {
  const { values } = parseArgs({ args: [...args], options: { rounds: { type: "string", default: "5" }, profile: { type: "string" } } });
  await using host = await openMirrorHost(values.profile);
  const image = await makeMachineImage();
  const files = await writeBlobs(host.dir, image);
  const figures: Record<string, number[]> = {};
  const rounds = Number(values.rounds);
  // round 0 warms up
  for (let round = 0; round <= rounds; round++) {
    const turns = [() => throughMirror(host, image, round), () => byContainerd(host, image, files)];
    for (const turn of round % 2 === 0 ? turns : turns.toReversed()) {
      const tookMs = await turn();
      await host.empty();
      if (round > 0) for (const [what, ms] of Object.entries(tookMs)) (figures[what] ??= []).push(ms);
      console.error(`round ${round}: ${JSON.stringify(tookMs)}`);
    }
  }
  const ratio = (what: string, to: string) => rounded(median(figures[what]!) / median(figures[to]!), 2);
  return {
    imageMb: rounded(image.sizeBytes / 1e6),
    ms: Object.fromEntries(Object.entries(figures).map(([what, ms]) => [what, spread(ms)])),
    pushToIngest: ratio("push blobs", "ingest"),
    readyToIngestAndUnpack: ratio("push to ready", "ingest and unpack"),
    aim: { pushToIngest: 1.1, readyToIngestAndUnpack: 1 },
  };
}

type Took = Readonly<Record<string, number>>;

/** Layers side by side, then config and manifest, as builders do. */
async function throughMirror({ mirror, containerd }: MirrorHost, image: MachineImage, round: number): Promise<Took> {
  const ns = containerd.namespace(orgNamespace(mirror.org));
  const repository = `${mirror.org}/ready${round}`;
  using client = createLoadClient(mirror.url);
  const clock = startClock();
  await client.pushBlobs({ repository, layers: image.layers }, "patch", layersAtOnce);
  await client.pushBlobs({ repository, layers: [image.config] }, "patch", 1);
  const blobs = clock();
  await client.pushManifest(repository, "latest", mediaTypes.imageManifest, image.manifest.bytes);
  while (!(await hasCommittedSnapshot(ns, snapshotter, image.chainId, aMinute()))) await sleep(5);
  return { "push blobs": blobs, "push to ready": clock() };
}

async function byContainerd(host: MirrorHost, image: MachineImage, files: ReadonlyMap<string, string>): Promise<Took> {
  const ingest = (digest: string, sizeBytes: number) =>
    host.ctr(["content", "ingest", "--expected-digest", digest, "--expected-size", String(sizeBytes), digest], files.get(digest));
  const clock = startClock();
  await inParallel(layersAtOnce, image.layers, ({ digest, sizeBytes }) => ingest(digest, sizeBytes));
  await ingest(image.config.digest, image.config.sizeBytes);
  const ingested = clock();
  await ingest(image.manifest.digest, image.manifest.sizeBytes);
  // `ctr snapshots unpack` finds manifests by the images that name them
  const target = { mediaType: mediaTypes.imageManifest, digest: image.manifest.digest as Digest, size: image.manifest.sizeBytes };
  await putImage(host.containerd.namespace(host.rawNamespace), { name: "bench.local/ready:latest", target, labels: {} }, aMinute());
  await host.ctr(["snapshots", "--snapshotter", snapshotter, "unpack", image.manifest.digest]);
  return { ingest: ingested, "ingest and unpack": clock() };
}

async function writeBlobs(dir: string, { layers, config, manifest }: MachineImage): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  for (const blob of [...layers, config, manifest]) {
    const file = path.join(dir, blob.digest.replace(":", "-"));
    await writeFile(file, Buffer.concat([...blob.chunks()]));
    files.set(blob.digest, file);
  }
  return files;
}

const aMinute = (): AbortSignal => AbortSignal.timeout(60_000);

/** Answers the milliseconds since its start. */
function startClock(): () => number {
  const startedAt = performance.now();
  return () => rounded(performance.now() - startedAt);
}
