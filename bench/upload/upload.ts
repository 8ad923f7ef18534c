import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs, promisify } from "node:util";
import { entryPoint } from "../../stack/entry-point.ts";
import { rounded, spread } from "../median.ts";
import { type UploadBench, openUploadBench } from "./near-registry.ts";
import { type SourceTree, makeSourceTree } from "./source-tree.ts";
import type { Way } from "./upload-once.ts";

const link = { roundTripMs: 170, linkMbit: 20 } as const;
/** until the index believes what was written */
const settleMs = 2_200;

/**
 * The client's side of a source's upload (list, read, hash, send): first, after one file changed, and unchanged; beside the whole tar as one
 * blob, a blob for each file, and `tar | curl` to a server that throws all away. Each upload is a process of its own, whose start does not count.
 *
 * `--files N`, `--size MB`, `--rounds N`, `--far-rounds N` over a link of 20 Mbit/s and 170 ms, `--per-file N` files for a blob each.
 */
export async function run(args: readonly string[]): Promise<Record<string, unknown>> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      files: { type: "string", default: "20000" },
      size: { type: "string", default: "200" },
      rounds: { type: "string", default: "5" },
      "far-rounds": { type: "string", default: "5" },
      "per-file": { type: "string", default: "2000" },
    },
  });
  await using bench = await openUploadBench(link);
  const [directory, small] = [path.join(bench.dir, "tree"), path.join(bench.dir, "small")];
  const tree = makeSourceTree(directory, { files: Number(values.files), totalBytes: Number(values.size) * 1e6 });
  const notes = createNotes();
  await sleep(settleMs);
  for (let round = 1; round <= Number(values.rounds); round += 1) await nearRound(bench, tree, round, notes);
  if (Number(values["far-rounds"]) > 0) await farRounds(bench, tree, Number(values["far-rounds"]), notes);
  const perFile = Number(values["per-file"]);
  if (perFile > 0) {
    const some = makeSourceTree(small, { files: perFile, totalBytes: perFile * 10_000 });
    notes.add(`a blob each, ${perFile} files, first`, await uploadOnce(bench, "per file", some, bench.nearUrl, "bench/files"));
    some.change();
    notes.add(`a blob each, ${perFile} files, one changed`, await uploadOnce(bench, "per file", some, bench.nearUrl, "bench/files"));
  }
  return {
    files: Number(values.files),
    sourceBytes: tree.sizeBytes,
    link,
    figures: notes.figures(),
    aim: { changedMs: 1000, changedShare: 0.05 },
  };
}

/** A repository and an index of its own: nothing of the rounds before helps. */
async function nearRound(bench: UploadBench, tree: SourceTree, round: number, notes: Notes): Promise<void> {
  const repository = `bench/near${round}`;
  const packs = () => uploadOnce(bench, "packs", tree, bench.nearUrl, repository, `near${round}`);
  notes.add("packs, first", await packs());
  tree.change();
  notes.add("packs, one file changed", await packs());
  await sleep(settleMs);
  await packs();
  notes.add("packs, unchanged", await packs());
  notes.add("one blob, first", await uploadOnce(bench, "one blob", tree, bench.nearUrl, repository));
  tree.change();
  notes.add("one blob, one file changed", await uploadOnce(bench, "one blob", tree, bench.nearUrl, repository));
  notes.add("tar | curl", await tarToCurl(tree));
}

async function farRounds(bench: UploadBench, tree: SourceTree, rounds: number, notes: Notes): Promise<void> {
  const packs = () => uploadOnce(bench, "packs", tree, bench.farUrl, "bench/far", "far");
  await sleep(settleMs);
  notes.add("far: packs, first", await packs());
  for (let round = 1; round <= rounds; round += 1) {
    tree.change();
    notes.add("far: packs, one file changed", await packs());
    await sleep(settleMs);
    await packs();
    notes.add("far: packs, unchanged", await packs());
  }
  notes.add("far: one blob, one file changed", await uploadOnce(bench, "one blob", tree, bench.farUrl, "bench/far"));
}

type Measured = { readonly ms: number; readonly sentBytes: number };

async function uploadOnce(
  bench: UploadBench,
  way: Way,
  tree: SourceTree,
  url: string,
  repository: string,
  index = "none",
): Promise<Measured> {
  const cache = path.join(bench.dir, "cache", index);
  await mkdir(cache, { recursive: true });
  const [node, ...script] = entryPoint("bench/upload/upload-once");
  const { stdout } = await promisify(execFile)(node, [...script, way, tree.directory, url, repository], {
    env: { ...process.env, XDG_CACHE_HOME: cache, TMPDIR: bench.dir },
  });
  return JSON.parse(stdout) as Measured;
}

/** What it takes to read all of it and send it somewhere, and nothing else. */
async function tarToCurl({ directory }: SourceTree): Promise<Measured> {
  let sentBytes = 0;
  const sink = createServer((request, response) => {
    request.on("data", (chunk: Buffer) => (sentBytes += chunk.length));
    request.on("end", () => response.end());
  });
  sink.listen(0, "127.0.0.1");
  await once(sink, "listening");
  try {
    const startedAtMs = performance.now();
    const url = `http://127.0.0.1:${(sink.address() as AddressInfo).port}/`;
    const child = spawn("sh", ["-c", 'tar -c -C "$0" . | curl -s -T - "$1"', directory, url], { stdio: "ignore" });
    const [code] = (await once(child, "exit")) as [number];
    if (code !== 0) throw new Error(`tar | curl ended with ${code}`);
    return { ms: performance.now() - startedAtMs, sentBytes };
  } finally {
    sink.close();
  }
}

type Notes = ReturnType<typeof createNotes>;

function createNotes() {
  const all = new Map<string, Measured[]>();
  return {
    add(what: string, measured: Measured): void {
      all.set(what, [...(all.get(what) ?? []), measured]);
      console.error(`${what.padEnd(36)} ${rounded(measured.ms)} ms, ${rounded(measured.sentBytes / 1e6, 2)} MB`);
    },
    figures: () =>
      Object.fromEntries(
        [...all].map(([what, runs]) => [
          what,
          {
            ms: spread(runs.map(({ ms }) => ms)),
            sentMb: spread(
              runs.map(({ sentBytes }) => sentBytes / 1e6),
              2,
            ),
          },
        ]),
      ),
  };
}
