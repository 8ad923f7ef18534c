import { Resolver } from "node:dns/promises";
import { accessSync, constants, existsSync } from "node:fs";
import path from "node:path";
import { createRegistryClient } from "../../config/registry-client.ts";
import { apiHostname } from "../../config/mirror-ports.ts";
import type { Settings } from "../../config/settings.ts";
import { networksOf, readNetworkRegistry } from "../../machines/network/network-registry.ts";
import { lanes } from "../../tools/recipes.ts";
import { accepts } from "../probe.ts";
import { stackStatus } from "../status.ts";
import { check, type CheckRun } from "./check.ts";

const fix = "slipway up";

/** Slipway's own processes and what they answer. */
export function stackChecks(settings: Settings): CheckRun[] {
  return [
    check("tools", fix, () => installedTools(settings)),
    check("supervisor", fix, async () => {
      const { supervisorPid } = await stackStatus(settings);
      if (supervisorPid === undefined) throw new Error("does not run");
      return `pid ${supervisorPid}`;
    }),
    ...(["registry", "mirror", "router", "resolver", "control", "host"] as const).map((name) =>
      check(`process ${name}`, fix, async () => await requireProcess(settings, name)),
    ),
    check("registry API", fix, async (signal) => {
      using registry = createRegistryClient(settings);
      await registry.ping(signal);
      return settings.registry.url;
    }),
    check("mirror socket", fix, async () => await requireSocket(settings.mirror.adminSocket)),
    check("names", "stop whatever else has port 53: ss -lnp sport = :53", async (signal) => await requireNames(settings, signal)),
    check("router socket", fix, async () => await requireSocket(settings.router.adminSocket)),
  ];
}

function installedTools({ tools }: Settings): string {
  const names = lanes
    .flat()
    .filter(({ group }) => group === "runtime")
    .flatMap((recipe) => (recipe.kind === "go-output" ? [] : recipe.binaries));
  for (const name of names) accessSync(path.join(tools.binDir, name), constants.X_OK);
  accessSync(path.join(tools.shareDir, "seccomp.json"), constants.R_OK);
  return tools.binDir;
}

async function requireProcess(settings: Settings, name: string): Promise<string> {
  const { processes } = await stackStatus(settings);
  const found = processes.find((process) => process.name === name);
  if (found?.pid === undefined) throw new Error(`does not run; see "${found?.logFile}"`);
  if (!found.ready) throw new Error(`runs with pid ${found.pid} and does not serve; see "${found.logFile}"`);
  return `pid ${found.pid}${found.restarts > 0 ? `, started again ${found.restarts} times` : ""}`;
}

async function requireSocket(socket: string): Promise<string> {
  if (!(await accepts({ path: socket }))) throw new Error(`nobody listens on "${socket}"`);
  return socket;
}

/** Each org's resolver tells the mirror's name, as machines ask for it. Another DNS server on port 53 of all addresses would be seen: it does not. */
async function requireNames(settings: Settings, signal: AbortSignal): Promise<string> {
  const networks = networksOf(settings, await readNetworkRegistry(settings)).filter(({ bridge }) => existsSync(`/sys/class/net/${bridge}`));
  for (const { org, gatewayIpv4 } of networks) {
    const resolver = new Resolver({ timeout: 1000, tries: 2 });
    resolver.setServers([gatewayIpv4]);
    const stop = () => resolver.cancel();
    signal.addEventListener("abort", stop);
    const found = await resolver.resolve4(apiHostname).catch((error: Error) => [error.message]);
    signal.removeEventListener("abort", stop);
    if (!found.includes(gatewayIpv4)) throw new Error(`the resolver of org "${org}" on ${gatewayIpv4} says: ${found.join(", ")}`);
  }
  return networks.length === 0 ? "no org has a network yet" : `the resolvers of ${networks.map(({ org }) => org).join(", ")} answer`;
}
