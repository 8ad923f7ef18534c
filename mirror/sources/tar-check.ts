import path from "node:path";
import { leadsOut } from "../../config/leads-out.ts";

/** A source that no build gets: a client of ours sends none such. */
export class SourceRefusedError extends Error {
  override readonly name = "SourceRefusedError";
}

/** Looks at a tar as it streams by. */
export type TarCheck = {
  /** @throws SourceRefusedError, naming the entry, before the bytes may be passed on */
  feed(chunk: Buffer): void;
  /** @throws SourceRefusedError when the tar is not at its end */
  end(): void;
};

const blockBytes = 512;
/** Two paths of the longest kind. */
const mostPaxBytes = 16 * 1024;
const types: Readonly<Record<string, "file" | "directory" | "symlink" | "pax">> = {
  "0": "file",
  "\0": "file",
  "5": "directory",
  "2": "symlink",
  x: "pax",
};
const refusedTypes: Readonly<Record<string, string>> = {
  "1": "a hard link",
  "3": "a character device",
  "4": "a block device",
  "6": "a fifo",
  S: "a sparse file",
  g: "a global pax header",
  L: "a GNU long name",
  K: "a GNU long link",
};

/** Fields that a pax record may give; others mean more than a source may say (extended attributes, sparse files). */
type Pax = { path?: string; linkpath?: string; size?: string };

/**
 * Takes nothing but what our own client sends: plain files, folders and symlinks that stay inside, in ustar with pax records for long or
 * foreign names. So what BuildKit unpacks is what was looked at, whatever its reader knows of other formats.
 */
export function createTarCheck(): TarCheck {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  /** of content and padding, to be passed over */
  let skipBytes = 0;
  /** of pax records and padding, to be collected; undefined: a header comes next */
  let paxBytes: number | undefined;
  let paxLength = 0;
  let pax: Pax = {};
  let isOver = false;
  let offset = 0;

  /** Exactly so many bytes, once they are there. */
  function take(bytes: number): Buffer {
    const whole = Buffer.concat(pending);
    pending = whole.length > bytes ? [whole.subarray(bytes)] : [];
    pendingBytes = whole.length - bytes;
    return whole.subarray(0, bytes);
  }

  function readHeader(block: Buffer): void {
    if (block.every((byte) => byte === 0)) {
      if (pax.path !== undefined || pax.linkpath !== undefined || pax.size !== undefined) throw noTar(offset, "a pax record of no entry");
      isOver = true;
      return;
    }
    if (isOver) throw noTar(offset, "bytes behind its end");
    if (block.toString("latin1", 257, 262) !== "ustar" || readOctal(block, 148, 8) !== checksumOf(block)) throw noTar(offset, "no header");
    const sizeBytes = pax.size === undefined ? readOctal(block, 124, 12) : Number(pax.size);
    const prefix = block[262] === 0 ? text(block, 345, 155) : "";
    const name = pax.path ?? (prefix === "" ? text(block, 0, 100) : `${prefix}/${text(block, 0, 100)}`);
    const flag = String.fromCharCode(block[156]!);
    const type = types[flag];
    if (type === undefined) throw refused(name, `it is ${refusedTypes[flag] ?? `of type ${JSON.stringify(flag)}`}`);
    if (sizeBytes === undefined || !Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw refused(name, "its size is no number");
    const paddedBytes = Math.ceil(sizeBytes / blockBytes) * blockBytes;
    if (type === "pax") {
      if (sizeBytes > mostPaxBytes || Object.keys(pax).length > 0) throw noTar(offset, "a pax record that is too long, or two");
      [paxLength, paxBytes] = [sizeBytes, paddedBytes];
      return;
    }
    requireInside(name);
    if (type === "symlink") requireTargetInside(name, pax.linkpath ?? text(block, 157, 100));
    if (type !== "file" && sizeBytes > 0) throw refused(name, `it is a ${type} with content`);
    pax = {};
    skipBytes = paddedBytes;
  }

  return {
    feed(chunk) {
      let rest = chunk;
      while (rest.length > 0) {
        if (skipBytes > 0) {
          const passed = Math.min(skipBytes, rest.length);
          [skipBytes, offset, rest] = [skipBytes - passed, offset + passed, rest.subarray(passed)];
          continue;
        }
        const wanted = (paxBytes ?? blockBytes) - pendingBytes;
        const part = rest.subarray(0, wanted);
        pending.push(part);
        pendingBytes += part.length;
        rest = rest.subarray(part.length);
        if (pendingBytes < (paxBytes ?? blockBytes)) return;
        const block = take(paxBytes ?? blockBytes);
        if (paxBytes === undefined) readHeader(block);
        else [pax, paxBytes] = [readPax(block.subarray(0, paxLength), offset), undefined];
        offset += block.length;
      }
    },
    end() {
      if (skipBytes > 0 || pendingBytes > 0 || !isOver) throw noTar(offset, "its end is missing");
    },
  };
}

function requireInside(name: string): void {
  if (name.replaceAll("/", "") === "" || name.includes("\0")) throw refused(name, "it has no name");
  if (path.posix.isAbsolute(name)) throw refused(name, "its path is absolute");
  if (name.split("/").includes("..")) throw refused(name, 'its path holds ".."');
}

function requireTargetInside(name: string, target: string): void {
  if (target === "" || path.posix.isAbsolute(target)) throw refused(name, `it is a symlink to the absolute path "${target}"`);
  if (leadsOut(name, target)) throw refused(name, `it is a symlink that leads out, to "${target}"`);
}

function readPax(records: Buffer, offset: number): Pax {
  const found: Pax = {};
  for (let at = 0; at < records.length;) {
    const space = records.indexOf(" ", at);
    const length = space === -1 ? Number.NaN : Number(records.toString("latin1", at, space));
    const isWhole = Number.isSafeInteger(length) && length > space - at && at + length <= records.length;
    if (!isWhole || records[at + length - 1] !== 0x0a) throw noTar(offset, "a malformed pax record");
    const record = records.toString("utf8", space + 1, at + length - 1);
    const equals = record.indexOf("=");
    const key = record.slice(0, equals);
    if (key !== "path" && key !== "linkpath" && key !== "size") throw noTar(offset, `the pax record "${key.slice(0, 80)}"`);
    found[key] = record.slice(equals + 1);
    at += length;
  }
  if (found.size !== undefined && !/^\d{1,15}$/.test(found.size)) throw noTar(offset, "a pax record whose size is no number");
  return found;
}

/** Undefined when it is none. Numbers in base 256 are not taken: what is too large for octal has a pax record. */
function readOctal(block: Buffer, at: number, bytes: number): number | undefined {
  const digits = /^ *([0-7]+)[\0 ]*$/.exec(block.toString("latin1", at, at + bytes))?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 8);
}

function checksumOf(block: Buffer): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < block.length; at += 1) if (at < 148 || at >= 156) sum += block[at]!;
  return sum;
}

function text(block: Buffer, at: number, bytes: number): string {
  const field = block.subarray(at, at + bytes);
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end === -1 ? bytes : end);
}

const refused = (name: string, why: string): SourceRefusedError =>
  new SourceRefusedError(`The source is refused: "${name.slice(0, 300)}": ${why}; deploy again with this version of slipway`);

const noTar = (offset: number, what: string): SourceRefusedError =>
  new SourceRefusedError(`The source is refused: it is no plain tar: ${what} at byte ${offset}; deploy again with this version of slipway`);
