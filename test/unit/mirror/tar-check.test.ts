import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { pack } from "tar-stream";
import type { SourceEntry } from "../../../cli/source/list-source.ts";
import { paddingOf, tarEnd, tarHeader } from "../../../cli/source/tar-header.ts";
import { SourceRefusedError, createTarCheck } from "../../../mirror/sources/tar-check.ts";

type Header = Parameters<ReturnType<typeof pack>["entry"]>[0];

async function tarOf(...headers: readonly (Header & { readonly text?: string })[]): Promise<Buffer> {
  const tar = pack();
  for (const { text = "", ...header } of headers) tar.entry(header, text);
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function check(tar: Buffer, chunkBytes = 1000): void {
  const looking = createTarCheck();
  for (let at = 0; at < tar.length; at += chunkBytes) looking.feed(tar.subarray(at, at + chunkBytes));
  looking.end();
}

const entries: readonly SourceEntry[] = [
  { kind: "directory", path: "a", mode: 0o755 },
  { kind: "file", path: "a/b", mode: 0o4755, sizeBytes: 1234, identity: "", changedAtMs: 0 },
  { kind: "file", path: `${"long/".repeat(60)}é`, mode: 0o644, sizeBytes: 512, identity: "", changedAtMs: 0 },
  { kind: "file", path: "empty", mode: 0o644, sizeBytes: 0, identity: "", changedAtMs: 0 },
  { kind: "symlink", path: "a/link", mode: 0o777, target: `../${"x".repeat(150)}` },
];
const own = Buffer.concat([
  ...entries.flatMap((entry) => {
    const sizeBytes = entry.kind === "file" ? entry.sizeBytes : 0;
    return [tarHeader(entry), Buffer.alloc(sizeBytes + paddingOf(sizeBytes), 0x80)];
  }),
  tarEnd,
]);

test.each([1, 7, 511, 512, 513, 4096, own.length])("what our client packs passes in chunks of %d bytes", (chunkBytes) => {
  expect(() => check(own, chunkBytes)).not.toThrow();
});

test.each<[string, () => Promise<Buffer>, string]>([
  ['".."', () => tarOf({ name: "a/../../etc/passwd", text: "x" }), '"a/../../etc/passwd": its path holds ".."'],
  ["an absolute path", () => tarOf({ name: "/etc/passwd", text: "x" }), '"/etc/passwd": its path is absolute'],
  [
    "an absolute symlink",
    () => tarOf({ name: "l", type: "symlink", linkname: "/etc" }),
    '"l": it is a symlink to the absolute path "/etc"',
  ],
  [
    "a symlink out",
    () => tarOf({ name: "d/l", type: "symlink", linkname: "../../x" }),
    '"d/l": it is a symlink that leads out, to "../../x"',
  ],
  ["a hard link", () => tarOf({ name: "h", type: "link", linkname: "../x" }), '"h": it is a hard link'],
  ["a device", () => tarOf({ name: "dev/sda", type: "block-device" }), '"dev/sda": it is a block device'],
  ["a character device", () => tarOf({ name: "null", type: "character-device" }), '"null": it is a character device'],
  ["a fifo", () => tarOf({ name: "pipe", type: "fifo" }), '"pipe": it is a fifo'],
  ["a long path out, by pax", () => tarOf({ name: `${"é".repeat(80)}/../../x`, text: "x" }), 'its path holds ".."'],
  ["extended attributes", () => tarOf({ name: "f", pax: { "SCHILY.xattr.security.capability": "x" }, text: "x" }), "pax record"],
  ["a sparse file by pax", () => tarOf({ name: "f", pax: { "GNU.sparse.realsize": "1000000000000" }, text: "x" }), "pax record"],
  ["a gzip", async () => gzipSync(randomBytes(2000)), "it is no plain tar: no header at byte 0"],
  ["nothing", async () => Buffer.alloc(0), "its end is missing"],
  ["a tar without an end", async () => own.subarray(0, -1024), "its end is missing"],
  ["a tar that ends within a file", async () => own.subarray(0, 1500), "its end is missing"],
  ["bytes behind the end", async () => Buffer.concat([own, own]), "bytes behind its end"],
  ["a header that was changed", async () => Buffer.from(own).fill("z", 3, 4), "no header at byte 0"],
])("%s is refused", async (_what, tar, reason) => {
  const bytes = await tar();
  for (const chunkBytes of [1, 512, 100_000]) {
    expect(() => check(bytes, chunkBytes)).toThrow(SourceRefusedError);
    expect(() => check(bytes, chunkBytes)).toThrow(reason);
  }
});

test("a size that lies is found by where the next header should be", () => {
  const lying = Buffer.concat([
    tarHeader({ kind: "file", path: "f", mode: 0o644, sizeBytes: 10_000, identity: "", changedAtMs: 0 }),
    Buffer.alloc(512, 1),
    tarEnd,
  ]);
  expect(() => check(lying)).toThrow("its end is missing");
});
