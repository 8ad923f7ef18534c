/** `node upload-once.ts WAY DIRECTORY URL REPOSITORY`: one upload as a process of its own; its time without Node's start, as JSON. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { loadIgnorePatterns } from "../../cli/source/ignore-file.ts";
import { listSource } from "../../cli/source/list-source.ts";
import { packSource } from "../../cli/source/pack.ts";
import { openSourceIndex } from "../../cli/source/source-index.ts";
import { uploadSource } from "../../cli/source/upload.ts";
import { parseDigest } from "../../oci/digest.ts";
import { type DistributionClient, createDistributionClient } from "../../oci/distribution-client.ts";
import { type Repository, parseRepository } from "../../oci/repository.ts";

const signal = AbortSignal.timeout(20 * 60_000);
type Sent = { readonly sentBytes: number; readonly packs?: number };

/** As `slipway deploy` does it. */
async function inPacks(directory: string, registry: DistributionClient, repository: Repository): Promise<Sent> {
  const ignore = await loadIgnorePatterns(directory, "Dockerfile", undefined);
  const index = await openSourceIndex(directory);
  const entries = await listSource({ directory, ignore, always: new Set(["Dockerfile"]) }, signal);
  const packed = await packSource(directory, entries, index, signal);
  const { sentBytes } = await uploadSource(registry, repository, packed, signal);
  return { sentBytes: sentBytes + packed.manifest.length, packs: packed.packs.length };
}

/** As it was before there were packs, by GNU tar: one file, hashed, and one blob. */
async function asOneBlob(directory: string, registry: DistributionClient, repository: Repository): Promise<Sent> {
  const folder = await mkdtemp(path.join(tmpdir(), "slipway-bench-"));
  try {
    const file = path.join(folder, "source.tar");
    const fixed = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
    await promisify(execFile)("tar", ["-c", "-f", file, "-C", directory, ...fixed, "."]);
    const hash = createHash("sha256");
    await pipeline(createReadStream(file), hash);
    const digest = parseDigest(`sha256:${hash.digest("hex")}`);
    const sizeBytes = (await stat(file)).size;
    if ((await registry.statBlob(repository, digest, signal)) !== undefined) return { sentBytes: 0 };
    await registry.pushBlob(repository, { digest, sizeBytes, open: (start) => createReadStream(file, { start }) }, signal);
    return { sentBytes: sizeBytes };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A blob for each file, 16 at a time, each looked for first: what a list of files instead of packs would take. */
async function perFile(directory: string, registry: DistributionClient, repository: Repository): Promise<Sent> {
  const { concurrently } = await import("../../config/concurrently.ts");
  const { Readable } = await import("node:stream");
  const { readFile } = await import("node:fs/promises");
  const { digestOf } = await import("../../oci/digest.ts");
  const ignore = await loadIgnorePatterns(directory, "Dockerfile", undefined);
  const entries = await listSource({ directory, ignore, always: new Set() }, signal);
  let sentBytes = 0;
  await concurrently(entries, 16, async (entry) => {
    if (entry.kind !== "file") return;
    const bytes = await readFile(path.join(directory, entry.path));
    const digest = digestOf(bytes);
    if ((await registry.statBlob(repository, digest, signal)) !== undefined) return;
    const open = (offset: number) => Readable.from([bytes.subarray(offset)], { objectMode: false });
    await registry.pushBlob(repository, { digest, sizeBytes: bytes.length, open }, signal);
    sentBytes += bytes.length;
  });
  return { sentBytes };
}

const ways = { packs: inPacks, "one blob": asOneBlob, "per file": perFile } as const;
export type Way = keyof typeof ways;

const [way, directory, baseUrl, repository] = process.argv.slice(2) as [Way, string, string, string];
using registry = createDistributionClient({ baseUrl });
const startedAtMs = performance.now();
const sent = await ways[way](directory, registry, parseRepository(repository));
console.log(JSON.stringify({ ms: performance.now() - startedAtMs, ...sent }));
