import type { SourceEntry } from "./list-source.ts";

export const tarBlockBytes = 512;

/** What ends a tar. */
export const tarEnd = Buffer.alloc(2 * tarBlockBytes);

/** From an entry's content to the next header. */
export const paddingOf = (sizeBytes: number): number => (tarBlockBytes - (sizeBytes % tarBlockBytes)) % tarBlockBytes;

const mostNameBytes = 100;
const mostOctalSize = 0o77777777777;

type Header = { readonly name: Buffer; readonly mode: number; readonly sizeBytes: number; readonly type: string; readonly link: Buffer };

/**
 * The header of an entry (POSIX.1-2001, "pax Interchange Format"), with a pax record before it for what ustar has no room for. Owner and
 * time are the same for everybody and for ever, so that the same source has the same digest.
 */
export function tarHeader(entry: SourceEntry): Buffer {
  const path = entry.kind === "directory" ? `${entry.path}/` : entry.path;
  const name = Buffer.from(path);
  const link = Buffer.from(entry.kind === "symlink" ? entry.target : "");
  const sizeBytes = entry.kind === "file" ? entry.sizeBytes : 0;
  const type = { file: "0", symlink: "2", directory: "5" }[entry.kind];
  const records = [
    ...(name.length > mostNameBytes || !isAscii(path) ? [paxRecord("path", name)] : []),
    ...(link.length > mostNameBytes || !isAscii(link.toString()) ? [paxRecord("linkpath", link)] : []),
    ...(sizeBytes > mostOctalSize ? [paxRecord("size", Buffer.from(String(sizeBytes)))] : []),
  ];
  const own = ustar({ name, mode: entry.mode, sizeBytes: sizeBytes > mostOctalSize ? 0 : sizeBytes, type, link });
  if (records.length === 0) return own;
  const pax = Buffer.concat(records);
  const before = ustar({ name: Buffer.from("PaxHeader"), mode: 0o644, sizeBytes: pax.length, type: "x", link: Buffer.alloc(0) });
  return Buffer.concat([before, pax, Buffer.alloc(paddingOf(pax.length)), own]);
}

function ustar({ name, mode, sizeBytes, type, link }: Header): Buffer {
  const block = Buffer.alloc(tarBlockBytes);
  name.copy(block, 0, 0, mostNameBytes);
  block.write(octal(mode, 7), 100, "latin1");
  block.write(octal(0, 7), 108, "latin1");
  block.write(octal(0, 7), 116, "latin1");
  block.write(octal(sizeBytes, 11), 124, "latin1");
  block.write(octal(0, 11), 136, "latin1");
  block.write(" ".repeat(8) + type, 148, "latin1");
  link.copy(block, 157, 0, mostNameBytes);
  block.write("ustar\u000000", 257, "latin1");
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${octal(sum, 6)}\0 `, 148, "latin1");
  return block;
}

const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, "0");

const isAscii = (text: string): boolean => /^[\x20-\x7e]*$/.test(text);

/** `<length> <key>=<value>\n`, the length counting itself. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from("\n")]);
  let length = rest.length + String(rest.length).length;
  if (rest.length + String(length).length !== length) length += 1;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}
