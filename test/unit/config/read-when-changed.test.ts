import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readWhenChanged } from "../../../config/read-when-changed.ts";
import { writeFileAtomic } from "../../../config/write-file-atomic.ts";

let dir = "";
beforeAll(async () => void (dir = await mkdtemp(path.join(tmpdir(), "slipway-changed-"))));
afterAll(async () => await rm(dir, { recursive: true }));

test("a file is read again when it was replaced, came or went, and not otherwise", async () => {
  const file = path.join(dir, "file");
  let reads = 0;
  const value = readWhenChanged(file, async () => {
    reads += 1;
    return await readFile(file, "utf8").catch(() => "none");
  });
  expect([await value(), await value(), reads]).toEqual(["none", "none", 1]);
  await writeFileAtomic(file, "one");
  expect([await value(), await value(), reads]).toEqual(["one", "one", 2]);
  await writeFileAtomic(file, "two");
  expect([await value(), reads]).toEqual(["two", 3]);
  await rm(file);
  expect([await value(), reads]).toEqual(["none", 4]);
});

test("a read that failed is tried again", async () => {
  const results = [Promise.reject(new Error("too many open files")), Promise.resolve("there")];
  for (const result of results) result.catch(() => undefined);
  const value = readWhenChanged(path.join(dir, "other"), async () => await results.shift()!);
  await expect(value()).rejects.toThrow("too many open files");
  expect(await value()).toBe("there");
});
