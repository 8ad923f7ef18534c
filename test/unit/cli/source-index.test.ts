import { mkdir, mkdtemp, readFile, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseIgnorePatterns } from "../../../cli/source/ignore-patterns.ts";
import { listSource } from "../../../cli/source/list-source.ts";
import { packSource } from "../../../cli/source/pack.ts";
import { openSourceIndex } from "../../../cli/source/source-index.ts";

const signal = new AbortController().signal;
let scratch: string;
let directory: string;
let cache: string;

beforeEach(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), "slipway-index-test-"));
  [directory, cache] = [path.join(scratch, "source"), path.join(scratch, "cache")];
  await mkdir(directory);
});
afterEach(() => rm(scratch, { recursive: true, force: true }));

/** What the whole source is, and what of it had to be read. */
async function pack({ laterMs = 10_000 } = {}) {
  const index = await openSourceIndex(directory, { environment: { XDG_CACHE_HOME: cache }, nowMs: () => Date.now() + laterMs });
  const entries = await listSource({ directory, ignore: parseIgnorePatterns(""), always: new Set() }, signal);
  let read = 0;
  const source = await packSource(
    directory,
    entries,
    {
      find(plan) {
        const found = index.find(plan);
        if (found === undefined) read += 1;
        return found;
      },
      keep: (packs) => index.keep(packs),
    },
    signal,
  );
  return { digest: source.digest, packs: source.packs, read };
}

/** Large enough to be a pack each. */
async function write(names: readonly string[]): Promise<void> {
  for (const name of names) await writeFile(path.join(directory, name), name.padEnd(2_000_000, "."));
}

test("what has not changed is not read again, and one change is read alone", async () => {
  const names = ["a", "b", "c", "d"];
  await write(names);
  const first = await pack();
  expect(first).toMatchObject({ read: names.length, packs: { length: names.length } });
  expect(await pack()).toEqual({ ...first, read: 0 });
  await writeFile(path.join(directory, "c"), "y".padEnd(2_000_000, "."));
  const changed = await pack();
  expect(changed.read).toBe(1);
  expect(changed.packs.filter(({ digest }) => first.packs.every((pack) => pack.digest !== digest))).toHaveLength(1);
});

test("a rewrite of the same size whose time was set back is noticed", async () => {
  await write(["a", "b"]);
  const at = new Date("2026-01-01T00:00:00Z");
  await utimes(path.join(directory, "a"), at, at);
  const first = await pack();
  await writeFile(path.join(directory, "a"), "z".padEnd(2_000_000, "."));
  await utimes(path.join(directory, "a"), at, at);
  const second = await pack();
  expect(second.read).toBe(1);
  expect(second.digest).not.toBe(first.digest);
});

test("a file that has just changed is read each time, as it may change again within the same tick of the clock", async () => {
  await writeFile(path.join(directory, "a"), "x");
  await pack({ laterMs: 0 });
  expect((await pack({ laterMs: 0 })).read).toBe(1);
  await pack();
  expect((await pack()).read).toBe(0);
});

test.each([
  ["broken", () => "{"],
  ["of another version", (text: string) => text.replace('"version":1', '"version":0')],
  ["of another directory", (text: string) => text.replace('"directory":"', '"directory":"/elsewhere')],
  ["false", (text: string) => text.replace(/"size":\d+/, '"size":"1"')],
])("an index that is %s is ignored and replaced", async (_what, damage) => {
  await write(["a", "b"]);
  const first = await pack();
  const folder = path.join(cache, "slipway", "sources");
  const file = path.join(folder, (await readdir(folder))[0]!);
  await writeFile(file, damage(await readFile(file, "utf8")));
  expect(await pack()).toEqual({ ...first, read: 2 });
  expect(await pack()).toEqual({ ...first, read: 0 });
});

test("an index that nobody has written for a month is removed by the next that is", async () => {
  const folder = path.join(cache, "slipway", "sources");
  await mkdir(folder, { recursive: true });
  for (const [name, daysAgo] of [
    ["old.json", 31],
    ["young.json", 5],
  ] as const) {
    const at = new Date(Date.now() - daysAgo * 24 * 60 * 60_000);
    await writeFile(path.join(folder, name), "{}");
    await utimes(path.join(folder, name), at, at);
  }
  await write(["a"]);
  await pack();
  expect(await readdir(folder)).toEqual(expect.arrayContaining(["young.json"]));
  expect(await readdir(folder)).toHaveLength(2);
});

test("a cache folder that cannot be written costs time and nothing else", async () => {
  await write(["a"]);
  await writeFile(cache, "a file where a folder should be");
  expect((await pack()).read).toBe(1);
  expect((await pack()).read).toBe(1);
});

test("two at once leave an index that one of them wrote", async () => {
  await write(["a", "b"]);
  const [left, right] = await Promise.all([pack(), pack()]);
  expect(left.digest).toBe(right.digest);
  expect((await pack()).read).toBe(0);
});
