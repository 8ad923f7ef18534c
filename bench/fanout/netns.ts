import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";

const exec = promisify(execFile);

/** A network of its own: hosts around one bridge, of which one is behind a slow link. Nothing of it is in the host's network. */
export type BenchNetwork = AsyncDisposable & {
  /** Adds a host. `mbit`: what its link carries, in each direction. */
  add(name: string, mbit?: number): Promise<NetworkHost>;
};

export type NetworkHost = {
  readonly address: string;
  /** The command that runs another one on this host. */
  command(argv: readonly string[]): [string, ...string[]];
  /** Bytes that have left the host over its link, as the other end of it has counted them. */
  sentBytes(): Promise<number>;
};

const prefix = "slipway-fanout-";
/** so much may pass at once: a router's buffer */
const burst = "256kb";

/** Named after an owned folder, so that a later run can tell whose it is after a kill. */
export async function openNetwork(ownedDir: string): Promise<BenchNetwork> {
  const base = prefix + path.basename(ownedDir);
  const hub = `${base}-hub`;
  const made: string[] = [];
  let last = 0;

  async function make(namespace: string): Promise<void> {
    await ip("netns", "add", namespace);
    made.push(namespace);
    await ip("-n", namespace, "link", "set", "dev", "lo", "up");
  }

  await make(hub);
  await ip("-n", hub, "link", "add", "name", "bridge", "type", "bridge");
  await ip("-n", hub, "link", "set", "dev", "bridge", "up");
  return {
    async add(name, mbit) {
      last += 1;
      const [namespace, port, address] = [`${base}-${name}`, `port${last}`, `10.213.0.${last}`];
      await make(namespace);
      await ip("-n", hub, "link", "add", "name", port, "type", "veth", "peer", "name", "eth0", "netns", namespace);
      await ip("-n", hub, "link", "set", "dev", port, "master", "bridge", "up");
      await ip("-n", namespace, "address", "add", `${address}/24`, "dev", "eth0");
      await ip("-n", namespace, "link", "set", "dev", "eth0", "up");
      if (mbit !== undefined)
        for (const [where, device] of [
          [hub, port],
          [namespace, "eth0"],
        ] as const)
          await limit(where, device, mbit);
      return {
        address,
        command: (argv) => ["ip", "netns", "exec", namespace, ...argv],
        sentBytes: async () => receivedBytes(await ip("-n", hub, "-s", "-j", "link", "show", "dev", port)),
      };
    },
    async [Symbol.asyncDispose]() {
      // the links go with them
      for (const namespace of made) await ip("netns", "delete", namespace);
    },
  };
}

/** Removes the networks of runs that were killed: their folders were removed before. */
export async function sweepNetworks(parentDir: string): Promise<void> {
  const lines = (await ip("netns", "list")).split("\n");
  for (const [name = ""] of lines.map((line) => line.split(" "))) {
    const folder = name.slice(prefix.length).replace(/-[^-]*$/, "");
    if (name.startsWith(prefix) && !existsSync(path.join(parentDir, folder))) await ip("netns", "delete", name);
  }
}

const limit = async (namespace: string, device: string, mbit: number): Promise<void> => {
  await exec("tc", [
    "-n",
    namespace,
    "qdisc",
    "add",
    "dev",
    device,
    "root",
    "tbf",
    "rate",
    `${mbit}mbit`,
    "burst",
    burst,
    "latency",
    "100ms",
  ]);
};

async function ip(...args: readonly string[]): Promise<string> {
  return (await exec("ip", [...args])).stdout;
}

function receivedBytes(json: string): number {
  const [link] = JSON.parse(json) as { readonly stats64: { readonly rx: { readonly bytes: number } } }[];
  if (link === undefined) throw new Error(`Cannot read a link's counters: found ${json.slice(0, 200)}`);
  return link.stats64.rx.bytes;
}
