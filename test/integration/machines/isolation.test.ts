import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import net from "node:net";
import { networkInterfaces } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createMachines } from "../../../machines/machines.ts";
import { readAddresses } from "../../../machines/network/address-file.ts";
import { bridgeName, bridgePrefix } from "../../../machines/network/address-plan.ts";
import { runProgram } from "../../../machines/run-program.ts";
import type { MachineState, OrgNetwork } from "../../../machines/types.ts";
import { page, until } from "./support/observe.ts";
import { kill, openWebLab, serve, type WebLab } from "./support/web-lab.ts";

const signal = AbortSignal.timeout(240_000);
let lab: WebLab;

beforeAll(async () => {
  lab = await openWebLab(signal);
});
afterAll(async () => await lab?.[Symbol.asyncDispose]());

test("an org reaches itself and the mirror, and neither another org nor the host beside it, over IPv4 and IPv6", async () => {
  const victim = await lab.machines.start(lab.plan({ org: lab.rival, id: "victim", image: lab.rivalWeb, args: serve }), signal);
  const own = await lab.start("own");
  const [network, rival] = [await lab.machines.ensureNetwork(lab.org, signal), await lab.machines.ensureNetwork(lab.rival, signal)];
  const ipv6Of = async ({ org, id }: MachineState) => (await readAddresses(lab.settings, org, id))!.ipv6;
  const { port } = lab.settings.mirror;
  await using everywhere = await listener("::", 0);
  await using _mirror = await both(network, port);
  await using _foreign = await both(rival, port);
  const reached = [`${own.address} 80`, `${await ipv6Of(own)} 80`, `${network.gatewayIpv4} ${port}`, `${network.gatewayIpv6} ${port}`];
  const refused = [
    ...[network.gatewayIpv4, network.gatewayIpv6, "127.0.0.1", "::1", ...hostAddresses()].map((address) => `${address} ${everywhere.port}`),
    ...[rival.gatewayIpv4, rival.gatewayIpv6].flatMap((address) => [`${address} ${port}`, `${address} ${everywhere.port}`]),
    ...[victim.address!, await ipv6Of(victim)].map((address) => `${address} 80`),
  ];
  for (const { address } of [own, victim]) await page(`http://${address}/hosts`);
  // from the host itself all of them answer, so that what is refused is refused on the way
  for (const target of [...reached, ...refused]) await connects(target);
  const attempts = [...reached, ...refused].map((target) => `(nc -w 2 ${target} </dev/null >/dev/null 2>&1 && echo ${target}) &`);
  const seen = (await lab.output("prober", `${attempts.join(" ")} wait`)).split("\n").filter((line) => line !== "");
  expect(new Set(seen)).toEqual(new Set(reached));
  await lab.machines.remove(lab.rival, "victim", kill, signal);
  await lab.remove("own");
});

test("an org of which the filter rules cannot be loaded has no bridge, and no machine of it starts", async () => {
  // nft takes no table of that name
  const settings = { ...lab.settings, instance: "{", dataDir: path.join(lab.settings.dataDir, "unfiltered") };
  const machines = createMachines({ containerd: lab.containerd, settings });
  const started = machines.start(lab.plan({ id: "unfiltered", image: lab.web }), signal);
  await expect(started).rejects.toMatchObject({ code: "NETWORK_FAILED", message: expect.stringContaining("syntax error") as string });
  expect(existsSync(`/sys/class/net/${bridgeName("{", lab.org)}`)).toBe(false);
  expect(await lab.machines.inspect(lab.org, "unfiltered", signal)).toBeUndefined();
});

test("a machine reaches the outside under the host's address, and the outside does not reach it", async () => {
  await using outside = await openOutside(lab.settings.instance);
  const own = await lab.start("reachable");
  await page(`http://${outside.linkLocal}:9000/hostname`);
  const fetches = (address: string) =>
    `test -n "$(printf "GET /hostname HTTP/1.0\\r\\n\\r\\n" | nc -w 2 ${address} 9000)" && echo fetched from ${address}`;
  // metadata services of clouds are link-local
  const seen = await lab.output("caller", `${fetches(outside.address)}; ${fetches(outside.linkLocal)}`);
  expect(seen).toContain(`fetched from ${outside.address}`);
  expect(seen).not.toContain(`fetched from ${outside.linkLocal}`);
  // that the answer came back without this route means that the machine's own address was hidden
  await runProgram("ip", ["-n", outside.name, "route", "add", "default", "via", "198.51.100.1"]);
  const back = runProgram("ip", ["netns", "exec", outside.name, "busybox", "nc", "-w", "1", own.address!, "80"]);
  await expect(back).rejects.toThrow(/ended with/);
  await lab.remove("reachable");
});

/** A network namespace that stands for the world: it knows no way to the machines' addresses but the host. */
async function openOutside(instance: string): Promise<AsyncDisposable & { name: string; address: string; linkLocal: string }> {
  const name = `out-${instance}`;
  const cable = `o${instance}`;
  const ip = (line: string) => runProgram("ip", line.split(" "));
  await ip(`netns add ${name}`);
  await ip(`link add ${cable} type veth peer name eth0 netns ${name}`);
  await ip(`address add 198.51.100.1/24 dev ${cable}`);
  await ip(`link set dev ${cable} up`);
  await ip(`-n ${name} address add 198.51.100.2/24 dev eth0`);
  // alone in a subnet of its own, where clouds have nothing
  await ip(`address add 169.254.77.1/30 dev ${cable}`);
  await ip(`-n ${name} address add 169.254.77.2/30 dev eth0`);
  await ip(`-n ${name} link set dev eth0 up`);
  await ip(`-n ${name} link set dev lo up`);
  const server = spawn("ip", ["netns", "exec", name, "busybox", "httpd", "-f", "-p", "9000", "-h", "/etc"], { stdio: "ignore" });
  await until(() => page(`http://198.51.100.2:9000/hostname`));
  return {
    name,
    address: "198.51.100.2",
    linkLocal: "169.254.77.2",
    async [Symbol.asyncDispose]() {
      server.kill("SIGKILL");
      await ip(`link delete dev ${cable}`);
      await ip(`netns delete ${name}`);
    },
  };
}

/** Those of this host that are neither on loopback nor an org's. */
function hostAddresses(): readonly string[] {
  const own = Object.entries(networkInterfaces()).filter(([name]) => name !== "lo" && !name.startsWith(bridgePrefix));
  const addresses = own.flatMap(([, found = []]) => found.map(({ address }) => address));
  return addresses.filter((address) => !address.startsWith("fe80:"));
}

/** @param target address and port, as `nc` takes them */
async function connects(target: string): Promise<void> {
  const [host, port] = target.split(" ") as [string, string];
  const socket = net.connect({ host, port: Number(port) });
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(20_000) });
  } finally {
    socket.destroy();
  }
}

async function both({ gatewayIpv4, gatewayIpv6 }: OrgNetwork, port: number): Promise<AsyncDisposable> {
  const servers = [await listener(gatewayIpv4, port), await listener(gatewayIpv6, port)];
  return {
    [Symbol.asyncDispose]: async () => void (await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()))),
  };
}

async function listener(host: string, port: number): Promise<AsyncDisposable & { port: number }> {
  const server = net.createServer((socket) => socket.on("error", () => undefined).end("hello"));
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, host, resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    [Symbol.asyncDispose]: async () => void (await new Promise((resolve) => server.close(resolve))),
  };
}
