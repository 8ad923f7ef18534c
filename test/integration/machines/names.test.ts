import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { instancePaths } from "../../../config/paths.ts";
import { readAddresses } from "../../../machines/network/address-file.ts";
import { openRouter, type Router } from "../../../machines/router/router.ts";
import type { MachineState } from "../../../machines/types.ts";
import { makeOwnedDir } from "../../support/owned-dir.ts";
import { createServiceProcess, type ServiceProcess } from "../../support/service-process.ts";
import { until } from "./support/observe.ts";
import { kill, openWebLab, serve, type WebLab } from "./support/web-lab.ts";

const signal = AbortSignal.timeout(240_000);
let lab: WebLab;
let resolver: ServiceProcess;
let router: Router;

beforeAll(async () => {
  lab = await openWebLab(signal);
  const { listenHost, firstPort } = lab.settings.router;
  router = await openRouter({ stateFile: instancePaths.routes(lab.settings), listenHost, firstPort });
  resolver = await createServiceProcess({
    name: "resolver",
    entry: "machines/resolver/main",
    settings: lab.settings,
    dir: await makeOwnedDir(),
  });
  // before the org has a network
  await resolver.start();
});
afterAll(async () => {
  await resolver?.[Symbol.asyncDispose]();
  await router?.close(0);
  await lab?.[Symbol.asyncDispose]();
});

/** As a machine's own process: answers what `nslookup` wrote. */
const lookUp = (id: string, names: readonly string[]) => lab.output(id, names.map((name) => `nslookup ${name} 2>&1`).join("; "));

/** One datagram to port 53 of an address from within a machine: who was answered, refused or not answered. */
async function ask({ pid }: MachineState, address: string): Promise<string> {
  const script = `
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[2]))
s.connect((sys.argv[1], 53))
s.send(bytes.fromhex("12340100000100000000000004") + b"_api" + b"\\x08internal" + bytes.fromhex("0000010001"))
try: print("answered" if s.recv(512)[:2] == b"\\x12\\x34" else "answered wrongly")
except socket.timeout: print("not answered")
except ConnectionRefusedError: print("refused")
`;
  const child = spawn("nsenter", ["-t", `${pid}`, "-n", "python3", "-c", script, address, "1"], { stdio: ["ignore", "pipe", "inherit"] });
  return (await text(child.stdout)).trim();
}

test("a machine finds its org's apps, mirror and nothing of another org, and its answers follow the router", async () => {
  const [one, two] = [await lab.start("web-app-0-v1"), await lab.start("web-app-1-v1")];
  const foreign = await lab.machines.start(lab.plan({ org: lab.rival, id: "foreign", image: lab.rivalWeb, args: serve }), signal);
  const target = ({ address }: MachineState) => ({ address: address!, port: 80 });
  await router.put({ org: lab.org, app: "web", targets: [target(one), target(two)] });
  await router.put({ org: lab.rival, app: "secret", targets: [target(foreign)] });
  const { gatewayIpv4 } = await lab.machines.ensureNetwork(lab.org, signal);
  await until(async () => (await ask(one, gatewayIpv4)) === "answered");
  const ipv6 = (await readAddresses(lab.settings, lab.org, one.id))!.ipv6;

  const seen = await lookUp("asks", ["web.internal", "_api.internal", "registry.slipway.internal", "secret.internal"]);
  expect(seen).toContain(`Server:\t\t${gatewayIpv4}`);
  for (const address of [one.address!, two.address!, ipv6]) expect(seen).toContain(`Address: ${address}`);
  for (const name of ["_api.internal", "registry.slipway.internal"]) expect(seen).toContain(`Name:\t${name}\nAddress: ${gatewayIpv4}`);
  expect(seen).toContain("can't find secret.internal: NXDOMAIN");
  expect(seen).not.toContain(foreign.address!);

  await router.put({ org: lab.org, app: "web", targets: [target(two)] });
  const switched = await lookUp("asks-again", ["web.internal"]);
  expect(switched).toContain(`Address: ${two.address}`);
  expect(switched).not.toContain(one.address!);
  for (const { id } of [one, two]) await lab.remove(id);
  await lab.machines.remove(lab.rival, "foreign", kill, signal);
});

/** How many datagrams of more than can be answered are, and how long after the first the last of them. */
async function flood({ pid }: MachineState, address: string): Promise<{ answered: number; seconds: number }> {
  const script = `
import json, socket, sys, threading, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
s.connect((sys.argv[1], 53))
s.settimeout(1)
query = bytes.fromhex("12340100000100000000000004") + b"_api" + b"\\x08internal" + bytes.fromhex("0000010001")
began = time.monotonic()
seen = {"answered": 0, "seconds": 0}
def listen():
    try:
        while s.recv(512): seen.update(answered=seen["answered"] + 1, seconds=time.monotonic() - began)
    except socket.timeout: pass
listener = threading.Thread(target=listen)
listener.start()
while time.monotonic() - began < 1.5:
    # what the resolver's socket holds, and no more
    for _ in range(100): s.send(query)
    time.sleep(0.005)
listener.join()
print(json.dumps(seen))
`;
  const child = spawn("nsenter", ["-t", `${pid}`, "-n", "python3", "-c", script, address], { stdio: ["ignore", "pipe", "inherit"] });
  return JSON.parse(await text(child.stdout)) as { answered: number; seconds: number };
}

test("the resolver of an org answers that org alone and no faster than its rate, and is waited for when it was killed", async () => {
  const own = await lab.start("own");
  const [network, rival] = [await lab.machines.ensureNetwork(lab.org, signal), await lab.machines.ensureNetwork(lab.rival, signal)];
  const foreign = await lab.machines.start(lab.plan({ org: lab.rival, id: "foreign", image: lab.rivalWeb, args: serve }), signal);
  const gateways = [network.gatewayIpv4, network.gatewayIpv6];
  const all = (machine: MachineState) => Promise.all(gateways.map((address) => ask(machine, address)));
  await until(async () => (await all(own)).every((outcome) => outcome === "answered"));
  expect(await all(foreign)).toEqual(["not answered", "not answered"]);
  await until(async () => (await ask(foreign, rival.gatewayIpv4)) === "answered");

  const { answered, seconds } = await flood(own, network.gatewayIpv4);
  // the burst and the rate of ruleset.ts
  expect(answered).toBeLessThanOrEqual(1000 + 1000 * seconds + 10);
  expect(answered).toBeGreaterThan(0);

  await resolver.stop("SIGKILL");
  // not refused: a program would take that for the last word
  expect(await all(own)).toEqual(["not answered", "not answered"]);
  await resolver.start();
  await until(async () => (await ask(own, network.gatewayIpv4)) === "answered");
  expect(await resolver.stop("SIGTERM")).toBe(0);
  await lab.remove("own");
  await lab.machines.remove(lab.rival, "foreign", kill, signal);
});
