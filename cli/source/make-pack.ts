import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import path from "node:path";
import type { PackPlan } from "./cut-packs.ts";
import { SourceError } from "./errors.ts";
import type { SourceEntry } from "./list-source.ts";
import { paddingOf, tarEnd, tarHeader } from "./tar-header.ts";

type FileEntry = SourceEntry & { kind: "file" };

/**
 * The bytes of a pack, read from the source directory: never more than one pack is in memory at a time for whoever asks for one.
 * @throws SourceError when a file is not what was listed, or may not be read.
 */
export function makePack(directory: string, { part, isLast }: PackPlan): Buffer {
  const pieces = part.kind === "entries" ? part.entries.flatMap(piecesOf) : piecesOfPart(part);
  if (isLast) pieces.push({ bytes: tarEnd });
  const pack = Buffer.alloc(pieces.reduce((sum, piece) => sum + ("bytes" in piece ? piece.bytes.length : piece.lengthBytes), 0));
  let at = 0;
  for (const piece of pieces) {
    if ("bytes" in piece) at += piece.bytes.copy(pack, at);
    else {
      readInto(pack.subarray(at, at + piece.lengthBytes), directory, piece);
      at += piece.lengthBytes;
    }
  }
  return pack;
}

type Content = { readonly entry: FileEntry; readonly first: number; readonly lengthBytes: number };
type Piece = { readonly bytes: Buffer } | Content;

function piecesOf(entry: SourceEntry): Piece[] {
  const header = { bytes: tarHeader(entry) };
  if (entry.kind !== "file" || entry.sizeBytes === 0) return [header];
  return [header, { entry, first: 0, lengthBytes: entry.sizeBytes }, { bytes: Buffer.alloc(paddingOf(entry.sizeBytes)) }];
}

/** A file's padding comes with its last byte. */
function piecesOfPart({ entry, first, lengthBytes }: Content): Piece[] {
  const isEnd = first + lengthBytes === entry.sizeBytes;
  return [
    ...(first === 0 ? [{ bytes: tarHeader(entry) }] : []),
    { entry, first, lengthBytes },
    ...(isEnd ? [{ bytes: Buffer.alloc(paddingOf(entry.sizeBytes)) }] : []),
  ];
}

function readInto(target: Buffer, directory: string, { entry, first }: Content): void {
  const file = open(directory, entry);
  try {
    const stats = fstatSync(file);
    if (!stats.isFile() || stats.size !== entry.sizeBytes) throw changed(entry.path);
    for (let at = 0; at < target.length;) {
      const read = readSync(file, target, at, target.length - at, first + at);
      if (read === 0) throw changed(entry.path);
      at += read;
    }
  } catch (error) {
    if (error instanceof SourceError) throw error;
    throw new SourceError(`Cannot pack "${entry.path}": ${(error as Error).message}`, { cause: error });
  } finally {
    closeSync(file);
  }
}

/** What was listed as a file may be a link or a pipe by now. */
function open(directory: string, entry: FileEntry): number {
  try {
    return openSync(path.join(directory, entry.path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ELOOP" || code === "ENXIO") throw changed(entry.path, cause as Error);
    const reason = code === "EACCES" || code === "EPERM" ? `this user may not read it (${code}); name it in .dockerignore` : message;
    throw new SourceError(`Cannot pack "${entry.path}": ${reason}`, { cause });
  }
}

export const changed = (name: string, cause?: Error): SourceError =>
  new SourceError(`Cannot pack "${name}": it changed while it was read; deploy again when nothing writes to it`, { cause });
