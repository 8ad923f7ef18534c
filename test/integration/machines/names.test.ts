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

test("the resolver of an org answers its machines alone, and asks of no one for patience when it was killed but time", async () => {
  const own = await lab.start("own");
  const [network, rival] = [await lab.machines.ensureNetwork(lab.org, signal), await lab.machines.ensureNetwork(lab.rival, signal)];
  const foreign = await lab.machines.start(lab.plan({ org: lab.rival, id: "foreign", image: lab.rivalWeb, args: serve }), signal);
  for (const address of [network.gatewayIpv4, network.gatewayIpv6]) {
    await until(async () => (await ask(own, address)) === "answered");
    expect(await ask(foreign, address)).toBe("not answered");
  }
  await until(async () => (await ask(foreign, rival.gatewayIpv4)) === "answered");

  await resolver.stop("SIGKILL");
  // not refused: a program would take that for the last word
  expect(await Promise.all([network.gatewayIpv4, network.gatewayIpv6].map((address) => ask(own, address)))).toEqual([
    "not answered",
    "not answered",
  ]);
  await resolver.start();
  await until(async () => (await ask(own, network.gatewayIpv4)) === "answered");
  expect(await resolver.stop("SIGTERM")).toBe(0);
  await lab.remove("own");
  await lab.machines.remove(lab.rival, "foreign", kill, signal);
});
