/** `npm run bench -- fanout`: an image to many hosts at once, past a link of 100 Mbit/s to the registry, with peers and without. */
import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs, promisify } from "node:util";
import { parseRepository } from "../../oci/repository.ts";
import { entryPoint } from "../../stack/entry-point.ts";
import { makeOwnedDir, removeOwnedDir, sweepOwnedDirs } from "../../test/support/owned-dir.ts";
import { installTools } from "../../tools/install.ts";
import { spread } from "../median.ts";
import { saveFreshImage } from "./image.ts";
import { type NetworkHost, openNetwork, sweepNetworks } from "./netns.ts";
import { type FanoutHost, org, startHost } from "./start-host.ts";
import { type FanoutRegistry, startRegistry } from "./start-registry.ts";

const exec = promisify(execFile);
const linkMbit = 100;
const repository = parseRepository(`${org}/web`);
const fetchTimeoutMs = 10 * 60_000;
/** the pushing host tells the registry that it has the image */
const announceMs = 2_000;

type Bench = {
  readonly dir: string;
  readonly hosts: readonly FanoutHost[];
  readonly registry: FanoutRegistry;
  /** where the registry is, behind the slow link */
  readonly far: NetworkHost;
};
const cases = ["one host has it", "no host has it"] as const;
type Case = (typeof cases)[number];
type Measured = { readonly readyMs: number; readonly linkBytes: number; readonly imageBytes: number };

export async function run(args: readonly string[]): Promise<Record<string, unknown>> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ args: [...args], options: { hosts: text, rounds: text, case: text, peers: text } });
  const hosts = atLeast("hosts", values.hosts ?? "8", 2);
  const rounds = atLeast("rounds", values.rounds ?? "5", 1);
  const asked = chosen("case", values.case, { one: cases[0], none: cases[1] });
  const withPeers = chosen("peers", values.peers, { on: true, off: false });
  await using bench = await open(hosts);
  const results: Summary[] = [];
  for (const peers of withPeers) {
    await Promise.all(bench.hosts.map((host) => host.restartMirror(peers)));
    const measured = new Map<Case, Measured[]>(asked.map((name) => [name, []]));
    for (let round = 1; round <= rounds; round += 1) {
      for (const name of asked) {
        const one = await measure(bench, name, `${peers ? "peers" : "alone"}-${round}-${cases.indexOf(name)}`);
        measured.get(name)!.push(one);
        const { readyMs, linkBytes } = one;
        console.error(`${name}, peers ${peers ? "on" : "off"}, round ${round}: ${(readyMs / 1000).toFixed(1)} s, ${mega(linkBytes)} MB`);
      }
    }
    for (const [name, all] of measured) results.push(summarize(name, peers, all));
  }
  console.error(table(results));
  return { hosts, rounds, linkMbit, results };
}

function atLeast(option: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= 100) return value;
  throw new RangeError(`Cannot run the bench: --${option} is "${text}", expected a number from ${least} to 100`);
}

/** One part of the bench, or all of it. */
function chosen<T>(option: string, name: string | undefined, parts: Readonly<Record<string, T>>): readonly T[] {
  if (name === undefined) return Object.values(parts);
  if (Object.hasOwn(parts, name)) return [parts[name]!];
  throw new RangeError(`Cannot run the bench: --${option} is "${name}", expected ${Object.keys(parts).join(" or ")}`);
}

async function open(count: number): Promise<Bench & AsyncDisposable> {
  await sweepOwnedDirs();
  await using stack = new AsyncDisposableStack();
  const tools = await installTools({ groups: [], progress: (line) => console.error(line), signal: AbortSignal.timeout(20 * 60_000) });
  const dir = await makeOwnedDir();
  await sweepNetworks(path.dirname(dir));
  stack.defer(() => removeOwnedDir(dir));
  const network = stack.use(await openNetwork(dir));
  const far = await network.add("far", linkMbit);
  const registry = stack.use(await startRegistry({ tools, ownedDir: dir, network: far }));
  const hosts: FanoutHost[] = [];
  for (let index = 1; index <= count; index += 1) {
    const name = `h${index}`;
    const { url, systemToken } = registry;
    const options = { tools, ownedDir: dir, name, network: await network.add(name), registry: { url, systemToken } };
    hosts.push(stack.use(await startHost(options)));
  }
  const opened = stack.move();
  return { dir, hosts, registry, far, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** Puts a fresh image where the case wants it, has the other hosts fetch it at once, and empties them. */
async function measure({ dir, hosts, registry, far }: Bench, name: Case, folder: string): Promise<Measured> {
  const imageDir = path.join(dir, folder);
  const image = await saveFreshImage(imageDir);
  await push(far, registry.url, imageDir, { PASSWORD: registry.systemToken });
  const [first] = hosts;
  const waiting = name === "one host has it" ? hosts.slice(1) : hosts;
  if (name === "one host has it") {
    await push(first!.network, first!.mirrorUrl, imageDir, {});
    await sleep(announceMs);
  }
  const before = await far.sentBytes();
  const startedAtMs = performance.now();
  await Promise.all(
    waiting.map(({ admin }) => admin.fetchImage(org, { repository, digest: image.manifest }, AbortSignal.timeout(fetchTimeoutMs))),
  );
  const readyMs = performance.now() - startedAtMs;
  const linkBytes = (await far.sentBytes()) - before;
  for (const host of hosts) await host.empty();
  await rm(imageDir, { recursive: true });
  return { readyMs, linkBytes, imageBytes: image.sizeBytes };
}

async function push(from: NetworkHost, url: string, imageDir: string, env: Readonly<Record<string, string>>): Promise<void> {
  const [command, ...args] = from.command([...entryPoint("bench/fanout/push-image"), url, repository, imageDir]);
  await exec(command, args, { env: { ...process.env, ...env } });
}

type Summary = ReturnType<typeof summarize>;

function summarize(name: Case, peers: boolean, measured: readonly Measured[]) {
  return {
    case: name,
    peers,
    imageMB: mega(measured[0]!.imageBytes),
    readyS: spread(
      measured.map(({ readyMs }) => readyMs / 1000),
      1,
    ),
    linkMB: spread(measured.map(({ linkBytes }) => linkBytes / 1_000_000)),
  };
}

const mega = (bytes: number): number => Math.round(bytes / 1_000_000);

/** For docs/benchmarks.md. */
function table(results: readonly Summary[]): string {
  const rows = results.map(({ case: name, peers, readyS, linkMB }) => {
    return `| ${name} | ${peers ? "on" : "off"} | ${readyS.median} s (${readyS.min}-${readyS.max}) | ${linkMB.median} MB |`;
  });
  return ["| before | peers | until all are ready | over the link |", "| --- | --- | --- | --- |", ...rows].join("\n");
}
