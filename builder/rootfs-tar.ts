import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import type { Readable } from "node:stream";
import { type Pack, pack } from "tar-stream";
import type { RootfsEntry } from "./rootfs.ts";

/** The entries as an uncompressed layer, streamed: the same entries give the same bytes. */
export function rootfsTar(entries: readonly RootfsEntry[], signal: AbortSignal): Readable {
  const archive = pack();
  addAll(archive, entries, signal).catch((error: unknown) => archive.destroy(error as Error));
  return archive as unknown as Readable;
}

async function addAll(archive: Pack, entries: readonly RootfsEntry[], signal: AbortSignal): Promise<void> {
  for (const entry of entries) await add(archive, entry, signal);
  archive.finalize();
}

const fixed = { mtime: new Date(0), uid: 0, gid: 0 };

async function add(archive: Pack, entry: RootfsEntry, signal: AbortSignal): Promise<void> {
  switch (entry.type) {
    case "directory":
      archive.entry({ ...fixed, name: entry.path, type: "directory", mode: entry.mode });
      return;
    case "link":
      archive.entry({ ...fixed, name: entry.path, type: "symlink", linkname: entry.target, mode: 0o777 });
      return;
    case "text":
      archive.entry({ ...fixed, name: entry.path, mode: entry.mode }, entry.text);
      return;
    case "file": {
      const { size } = await stat(entry.source);
      const sink = archive.entry({ ...fixed, name: entry.path, mode: entry.mode, size });
      await pipeline(createReadStream(entry.source), sink, { signal });
    }
  }
}
