import { spawn } from "node:child_process";
import net from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runProgram } from "../../../machines/run-program.ts";
import { page, until } from "./support/observe.ts";
import { kill, openWebLab, serve, type WebLab } from "./support/web-lab.ts";

const signal = AbortSignal.timeout(240_000);
let lab: WebLab;

beforeAll(async () => {
  lab = await openWebLab(signal);
});
afterAll(async () => await lab?.[Symbol.asyncDispose]());

test("an org reaches neither another org, nor the host beside the mirror's port", async () => {
  const victim = await lab.machines.start(lab.plan({ org: lab.rival, id: "victim", image: lab.rivalWeb, args: serve }), signal);
  const own = await lab.start("own");
  const gateway = (await lab.machines.ensureNetwork(lab.org, signal)).gatewayIpv4;
  const rivalGateway = (await lab.machines.ensureNetwork(lab.rival, signal)).gatewayIpv4;
  await using mirror = await listener(gateway, lab.settings.mirror.port);
  await using other = await listener(gateway, 0);
  await using foreign = await listener(rivalGateway, lab.settings.mirror.port);
  const reach = (address: string, port: number) =>
    `nc -w 1 ${address} ${port} </dev/null >/dev/null 2>&1 && echo ${address}:${port} reached || echo ${address}:${port} refused`;
  const targets: [string, number][] = [
    [own.address!, 80],
    [gateway, mirror.port],
    [gateway, other.port],
    [rivalGateway, foreign.port],
    [victim.address!, 80],
  ];
  const seen = await lab.output("prober", targets.map(([address, port]) => reach(address, port)).join("; "));
  expect(seen.split("\n")).toEqual([
    `${own.address}:80 reached`,
    `${gateway}:${mirror.port} reached`,
    `${gateway}:${other.port} refused`,
    `${rivalGateway}:${foreign.port} refused`,
    `${victim.address}:80 refused`,
  ]);
  await lab.machines.remove(lab.rival, "victim", kill, signal);
  await lab.remove("own");
});

test("a machine reaches the outside under the host's address, and the outside does not reach it", async () => {
  await using outside = await openOutside(lab.settings.instance);
  const own = await lab.start("reachable");
  const seen = await lab.output("caller", `wget -q -O - http://${outside.address}:9000/hostname && echo fetched`);
  expect(seen).toContain("fetched");
  // that the answer came back without this route means that the machine's own address was hidden
  await runProgram("ip", ["-n", outside.name, "route", "add", "default", "via", "198.51.100.1"]);
  const back = runProgram("ip", ["netns", "exec", outside.name, "busybox", "nc", "-w", "1", own.address!, "80"]);
  await expect(back).rejects.toThrow(/ended with/);
  await lab.remove("reachable");
});

/** A network namespace that stands for the world: it knows no way to the machines' addresses but the host. */
async function openOutside(instance: string): Promise<AsyncDisposable & { name: string; address: string }> {
  const name = `out-${instance}`;
  const cable = `o${instance}`;
  const ip = (line: string) => runProgram("ip", line.split(" "));
  await ip(`netns add ${name}`);
  await ip(`link add ${cable} type veth peer name eth0 netns ${name}`);
  await ip(`address add 198.51.100.1/24 dev ${cable}`);
  await ip(`link set dev ${cable} up`);
  await ip(`-n ${name} address add 198.51.100.2/24 dev eth0`);
  await ip(`-n ${name} link set dev eth0 up`);
  await ip(`-n ${name} link set dev lo up`);
  const server = spawn("ip", ["netns", "exec", name, "busybox", "httpd", "-f", "-p", "9000", "-h", "/etc"], { stdio: "ignore" });
  await until(() => page(`http://198.51.100.2:9000/hostname`));
  return {
    name,
    address: "198.51.100.2",
    async [Symbol.asyncDispose]() {
      server.kill("SIGKILL");
      await ip(`link delete dev ${cable}`);
      await ip(`netns delete ${name}`);
    },
  };
}

async function listener(host: string, port: number): Promise<AsyncDisposable & { port: number }> {
  const server = net.createServer((socket) => socket.end("hello"));
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, host, resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    [Symbol.asyncDispose]: async () => void (await new Promise((resolve) => server.close(resolve))),
  };
}
