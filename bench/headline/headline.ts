import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { orgNamespace } from "../../config/paths.ts";
import { makeOwnedDir, removeOwnedDir } from "../../test/support/owned-dir.ts";
import { installTools } from "../../tools/install.ts";
import { machineFacts } from "../machine-facts.ts";
import { pushBaseImage } from "./base-image.ts";
import { type Builder, openBuilder } from "./builder.ts";
import { type Cell, allCells, lanesOf, nameOf, parseCells } from "./cells.ts";
import { type Deploy, type DeployTools, deployByMirror, deployDirectly, emptyNamespace } from "./deploys.ts";
import { openFarRegistry, startRegistry } from "./far-registry.ts";
import { type Host, openHost, org } from "./host.ts";
import { renderSvg } from "./render-svg.ts";
import { type CellResult, type Results, readResults, writeResults } from "./results.ts";
import { createSource, openSourceServer } from "./source.ts";
import { summarize } from "./summarize.ts";

const namespaceOfLane = (lane: number): string => `bench-direct-${lane}`;

/**
 * A deploy with everything cached and the builder asleep, until the image can be started: by a far registry and by the mirror, first and
 * after a change of code. `[--rounds 5] [--cells 60@170/100,…] [--out docs/headline]`; what `<out>.json` has is not measured again.
 */
export async function run(args: readonly string[]): Promise<Record<string, unknown>> {
  const { values } = parseArgs({
    args: [...args],
    options: { rounds: { type: "string", default: "5" }, cells: { type: "string" }, out: { type: "string", default: "docs/headline" } },
  });
  const rounds = Number(values.rounds);
  const cells = values.cells === undefined ? allCells : parseCells(values.cells);
  const file = `${values.out}.json`;
  const results: Results = (await readResults(file)) ?? { machine: await machineFacts(), cells: {} };
  for (const sizeMb of new Set(cells.map((cell) => cell.sizeMb))) {
    const open = cells.filter((cell) => cell.sizeMb === sizeMb && missingRounds(results, cell, rounds) > 0);
    if (open.length === 0) continue;
    await using arena = await openArena(sizeMb);
    const save = async (): Promise<void> => {
      await writeResults(file, results);
      await writeFile(`${values.out}.svg`, renderSvg(results));
    };
    for (const cell of open) await measureCell(arena, cell, rounds, results, save);
  }
  return { file, cells: summarize(results) };
}

type Arena = AsyncDisposable & DeployTools & { readonly host: Host; readonly dir: string; readonly baseImage: string };

/** One image size: its base is in the builder's cache, compressed, before anything is measured. */
async function openArena(sizeMb: number): Promise<Arena> {
  const progress = (line: string): void => console.error(line);
  const tools = await installTools({ groups: ["bench", "test"], progress, signal: AbortSignal.timeout(20 * 60_000) });
  await using stack = new AsyncDisposableStack();
  const dir = await makeOwnedDir();
  stack.defer(() => removeOwnedDir(dir));
  const host = stack.use(await openHost(tools, dir));
  const sources = stack.use(await openSourceServer());
  const builder = stack.use(await openBuilder({ binDir: tools.binDir, dir, mirrorHost: host.mirror, sources }));
  const near = stack.use(await startRegistry({ binDir: tools.binDir, dir, name: "near" }));
  console.error(`making an image of ${sizeMb} MB`);
  const baseImage = await pushBaseImage(near.host, sizeMb, AbortSignal.timeout(20 * 60_000));
  await warm(builder, await createSource(baseImage), `${near.host}/${org}/warm:1`);
  const opened = stack.move();
  return {
    host,
    containerd: host.containerd,
    builder,
    binDir: tools.binDir,
    dir,
    baseImage,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function warm(builder: Builder, source: Buffer, imageName: string): Promise<void> {
  await builder.wake();
  await builder.build(source, imageName, AbortSignal.timeout(20 * 60_000));
}

async function measureCell(arena: Arena, cell: Cell, rounds: number, results: Results, save: () => Promise<void>): Promise<void> {
  const lanes = lanesOf(cell, rounds);
  const none = (): CellResult["direct"] => ({ first: [], redeploy: [] });
  const found = (results.cells[nameOf(cell)] ??= { ...cell, lanes, direct: none(), mirror: none() });
  const { source, next } = await cachedSource(arena);
  while (found.direct.redeploy.length < rounds || found.mirror.redeploy.length < rounds) {
    if (found.direct.redeploy.length < rounds) {
      await roundsBeside(arena, cell, Math.min(lanes, rounds - found.direct.redeploy.length), source, next, found.direct);
    }
    while (found.mirror.redeploy.length < Math.min(rounds, found.direct.redeploy.length)) {
      await mirrorRound(arena, source, next, found.mirror);
    }
    await save();
    console.error(`${nameOf(cell)}: ${JSON.stringify(summarize({ ...results, cells: { [nameOf(cell)]: found } })[nameOf(cell)])}`);
  }
}

/** The code that every first deploy has, built once so that it is cached; `next` is code that nobody has seen. */
async function cachedSource({
  builder,
  baseImage,
  host,
}: Arena): Promise<{ readonly source: Buffer; readonly next: () => Promise<Buffer> }> {
  const source = await createSource(baseImage);
  await warm(builder, source, `${host.mirror}/${org}/warm:1`);
  return { source, next: () => createSource(baseImage) };
}

async function roundsBeside(
  arena: Arena,
  cell: Cell,
  lanes: number,
  source: Buffer,
  next: () => Promise<Buffer>,
  into: CellResult["direct"],
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const deploys: Deploy[] = [];
  for (let lane = 0; lane < lanes; lane += 1) {
    const registry = stack.use(await openFarRegistry({ binDir: arena.binDir, dir: arena.dir, name: `far-${lane}` }, cell));
    const namespace = namespaceOfLane(lane);
    await emptyNamespace(arena.containerd, namespace);
    stack.defer(() => emptyNamespace(arena.containerd, namespace));
    deploys.push({ source, imageName: `${registry.host}/${org}/app:1`, namespace });
  }
  const first = await deployDirectly(arena, deploys);
  const changed = await Promise.all(
    deploys.map(async (deploy) => ({ ...deploy, source: await next(), imageName: again(deploy.imageName) })),
  );
  const redeploy = await deployDirectly(arena, changed);
  // a round counts whole
  into.first.push(...first);
  into.redeploy.push(...redeploy);
}

async function mirrorRound(arena: Arena, source: Buffer, next: () => Promise<Buffer>, into: CellResult["mirror"]): Promise<void> {
  await arena.host.emptyOrg();
  const deploy = { source, imageName: `${arena.host.mirror}/${org}/app:1`, namespace: orgNamespace(org) };
  const first = await deployByMirror(arena, deploy);
  const redeploy = await deployByMirror(arena, { ...deploy, source: await next(), imageName: again(deploy.imageName) });
  into.first.push(first);
  into.redeploy.push(redeploy);
}

const again = (imageName: string): string => imageName.replace(/:1$/, ":2");

function missingRounds({ cells }: Results, cell: Cell, rounds: number): number {
  const found = cells[nameOf(cell)];
  return found === undefined ? rounds : rounds - Math.min(found.direct.redeploy.length, found.mirror.redeploy.length);
}
