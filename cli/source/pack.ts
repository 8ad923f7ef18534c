import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { pack as createTar, type Pack } from "tar-stream";
import { parseDigest, type Digest } from "../../oci/digest.ts";
import { SourceError } from "./errors.ts";
import type { SourceEntry } from "./list-source.ts";

/** A packed source on disk; disposing removes it. */
export type PackedSource = AsyncDisposable & {
  readonly file: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly fileCount: number;
};

type EntryHeader = Parameters<Pack["entry"]>[0];

/** The same for everybody and for ever, so that the same source has the same digest. */
const fixed = { mtime: new Date(0), uid: 0, gid: 0, uname: "", gname: "" } as const;

/**
 * Writes the entries as a tar to a temporary file, hashing as it goes: an upload can then be streamed and repeated.
 * @throws SourceError when a file changes while it is read.
 */
export async function packSource(directory: string, entries: readonly SourceEntry[], signal: AbortSignal): Promise<PackedSource> {
  const folder = await mkdtemp(path.join(tmpdir(), "slipway-source-"));
  const dispose = () => rm(folder, { recursive: true, force: true });
  try {
    const file = path.join(folder, "source.tar");
    const hash = createHash("sha256");
    let sizeBytes = 0;
    const hasher = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        sizeBytes += chunk.length;
        done(null, chunk);
      },
    });
    const tar = createTar();
    const written = pipeline(tar, hasher, createWriteStream(file, { mode: 0o600 }), { signal });
    // an entry that fails also breaks the stream: its own error is the one that says why
    const [added, finished] = await Promise.allSettled([addEntries(tar, directory, entries, signal), written]);
    for (const result of [added, finished]) if (result.status === "rejected") throw result.reason;
    const fileCount = entries.filter((entry) => entry.kind === "file").length;
    return { file, digest: parseDigest(`sha256:${hash.digest("hex")}`), sizeBytes, fileCount, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

async function addEntries(tar: Pack, directory: string, entries: readonly SourceEntry[], signal: AbortSignal): Promise<void> {
  try {
    for (const entry of entries) await addEntry(tar, directory, entry, signal);
    tar.finalize();
  } catch (error) {
    tar.destroy(error as Error);
    throw error;
  }
}

/** Up to here a file is read in one go: many small files are packed several times as fast. */
const smallFileBytes = 256 * 1024;

async function addEntry(tar: Pack, directory: string, entry: SourceEntry, signal: AbortSignal): Promise<void> {
  if (entry.kind === "directory") return addWhole(tar, { ...fixed, name: `${entry.path}/`, type: "directory", mode: 0o755 });
  if (entry.kind === "symlink") return addWhole(tar, { ...fixed, name: entry.path, type: "symlink", linkname: entry.target, mode: 0o777 });
  const header: EntryHeader = { ...fixed, name: entry.path, type: "file", mode: entry.executable ? 0o755 : 0o644, size: entry.sizeBytes };
  const file = path.join(directory, entry.path);
  if (entry.sizeBytes <= smallFileBytes) {
    const bytes = await readFile(file, { signal });
    if (bytes.length !== entry.sizeBytes) throw changed(entry.path);
    return addWhole(tar, header, bytes);
  }
  // one byte more than was announced shows a file that grew
  const content = createReadStream(file, { end: entry.sizeBytes });
  await pipeline(content, tar.entry(header), { signal }).catch((cause: Error) => {
    throw cause.message.includes("Size mismatch") ? changed(entry.path, cause) : cause;
  });
}

function addWhole(tar: Pack, header: EntryHeader, bytes = Buffer.alloc(0)): Promise<void> {
  return new Promise((resolve, reject) => {
    tar.entry(header, bytes, (error) => (error == null ? resolve() : reject(error)));
  });
}

const changed = (name: string, cause?: Error): SourceError =>
  new SourceError(`Cannot pack "${name}": it changed while it was read; deploy again when nothing writes to it`, { cause });
