import { expect, test } from "vitest";
import { type PackPlan, cutPacks, largeFileBytes } from "../../../cli/source/cut-packs.ts";
import { largestOf } from "../../../cli/source/largest.ts";
import type { SourceEntry } from "../../../cli/source/list-source.ts";
import { seededRandom } from "../../support/seeded-random.ts";

const file = (path: string, sizeBytes: number, identity = "1"): SourceEntry & { kind: "file" } => ({
  kind: "file",
  path,
  mode: 0o644,
  sizeBytes,
  identity,
  changedAtMs: 0,
});

/** Sizes as sources have them: many small files, a few large ones, folders and links between. */
function randomSource(seed: number, count: number): SourceEntry[] {
  const random = seededRandom(seed);
  const entries = Array.from({ length: count }, (_, index): SourceEntry => {
    const path = `dir${random.below(20)}/name${index}-${random.below(1e9)}`;
    if (random.chance(0.05)) return { kind: "directory", path, mode: 0o755 };
    if (random.chance(0.02)) return { kind: "symlink", path, mode: 0o777, target: "x" };
    return file(path, random.chance(0.01) ? random.below(3 * largeFileBytes) : random.below(80_000));
  });
  return inOrder(entries);
}
const inOrder = (entries: SourceEntry[]) => entries.toSorted((left, right) => (left.path < right.path ? -1 : 1));

const entriesIn = ({ part }: PackPlan) => (part.kind === "part" ? [part.entry] : part.entries);
const keys = (plans: PackPlan[]) => plans.map((plan) => JSON.stringify(plan));

test("packs hold every entry once and in order, and the parts of a large file all of it", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const entries = randomSource(seed, 500);
    const plans = cutPacks(entries);
    const packed = plans.flatMap((plan) => (plan.part.kind === "part" && plan.part.first > 0 ? [] : entriesIn(plan)));
    expect(packed).toEqual(entries);
    for (const entry of entries) {
      if (entry.kind !== "file" || entry.sizeBytes < largeFileBytes) continue;
      const parts = plans.flatMap(({ part }) => (part.kind === "part" && part.entry === entry ? [part] : []));
      let at = 0;
      for (const { first, lengthBytes } of parts) {
        expect(first).toBe(at);
        expect(lengthBytes).toBeLessThanOrEqual(largeFileBytes);
        at += lengthBytes;
      }
      expect(at).toBe(entry.sizeBytes);
    }
    expect(plans.map(({ isLast }) => isLast)).toEqual(plans.map((_plan, index) => index === plans.length - 1));
  }
});

test("a small file that is changed, added or removed changes two packs at most, besides the end of the tar", () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const random = seededRandom(seed + 1000);
    const entries = randomSource(seed, 600);
    const at = random.below(entries.length);
    const grown = file(`dir${random.below(20)}/new-${seed}`, random.below(60_000), "2");
    const changes = [
      entries.with(at, file(entries[at]!.path, random.below(60_000), "2")),
      inOrder([...entries, grown]),
      entries.filter((entry) => entry.kind !== "file" || entry.sizeBytes >= largeFileBytes || entry !== entries[at]),
    ];
    const before = new Set(keys(cutPacks(entries)));
    const wasLarge = "sizeBytes" in entries[at]! && entries[at].sizeBytes >= largeFileBytes;
    for (const [index, changed] of changes.entries()) {
      if (wasLarge && index === 0) continue;
      const isNew = cutPacks(changed).filter((plan) => !before.has(JSON.stringify(plan)) && !plan.isLast);
      expect(isNew.length).toBeLessThanOrEqual(2);
    }
  }
});

test("200 MB of 20,000 files are 100 to 400 packs, none of them above 16 MiB", () => {
  const random = seededRandom(7);
  const entries = Array.from({ length: 20_000 }, (_, index) => file(`src/m${index % 20}/f${index}.ts`, 9_000 + random.below(2_000)));
  const plans = cutPacks(inOrder(entries));
  expect(plans.length).toBeGreaterThan(100);
  expect(plans.length).toBeLessThan(400);
  const sizes = plans.map((plan) => entriesIn(plan).reduce((sum, entry) => sum + ("sizeBytes" in entry ? entry.sizeBytes : 0), 0));
  expect(Math.max(...sizes)).toBeLessThan(16 * 1024 * 1024);
});

test("a source of terabytes has no more packs than a list may name", () => {
  const entries = [...Array.from({ length: 50_000 }, (_, index) => file(`s/${index}`, 4_000_000)), file("z", 2 ** 42)];
  expect(cutPacks(entries).length).toBeLessThan(8192);
});

test("a source of nothing is one pack, the end of a tar", () => {
  expect(cutPacks([])).toEqual([{ part: { kind: "entries", entries: [] }, isLast: true }]);
});

test("what makes a source large is named by the folder that holds it, or by the file when it is one", () => {
  const many = Array.from({ length: 100 }, (_, index) => file(`app/node_modules/p${index}/index.js`, 1_000));
  const entries = [...many, file("app/main.ts", 10), file("data/dumps/db.sql", 50_000), file("README.md", 5)];
  expect(largestOf(entries)).toEqual([
    { path: "app/node_modules", sizeBytes: 100_000 },
    { path: "data/dumps/db.sql", sizeBytes: 50_000 },
  ]);
});
