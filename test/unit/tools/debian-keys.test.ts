import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { dearmored } from "../../../tools/base-images/debian.ts";

const file = new URL("../../../tools/base-images/debian-12-archive-keys.asc", import.meta.url);

test("the keys that Debian 12 is trusted by are its three archive keys, by their fingerprints", async () => {
  expect(primaryKeys(dearmored(await readFile(file, "utf8")))).toEqual([
    "b8b80b5b623eab6ad8775c45b7c5d7d6350947f8",
    "4d64fec119c2029067d6e791f8d2585b8783d481",
    "05ab90340c0c5e797f44a8c8254cf3b5aec0a8f0",
  ]);
});

test("a text without an armored block is refused", () => {
  expect(() => dearmored("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabcd\n")).toThrow(/expected an ASCII-armored block/);
});

/** Fingerprints of version 4 primary keys (RFC 9580, sections 4.2 and 5.5.4.2), in order. */
function primaryKeys(bytes: Buffer): string[] {
  const fingerprints: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const { tag, start, length } = packetAt(bytes, at);
    const body = bytes.subarray(start, start + length);
    const size = Buffer.from([0x99, length >> 8, length & 0xff]);
    if (tag === 6) fingerprints.push(createHash("sha1").update(size).update(body).digest("hex"));
    at = start + length;
  }
  return fingerprints;
}

/** In the legacy format that gpg writes: one or two octets of length. */
function packetAt(bytes: Buffer, at: number): { tag: number; start: number; length: number } {
  const head = bytes.readUInt8(at);
  const lengthOctets = 1 << (head & 0b11);
  return { tag: (head >> 2) & 0b1111, start: at + 1 + lengthOctets, length: bytes.readUIntBE(at + 1, lengthOctets) };
}
