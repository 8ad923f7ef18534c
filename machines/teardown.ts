import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { instancePaths, orgNamespace } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import { openContainerd } from "../containerd/client.ts";
import { cgroupDirs, emptyCgroup, instanceCgroup, removeCgroup } from "./cgroup.ts";
import { planOf } from "./create-container.ts";
import { bridgePrefix } from "./network/address-plan.ts";
import { restoreForwarding } from "./network/forwarding.ts";
import { loadRules } from "./network/load-rules.ts";
import { networksOf, readNetworkRegistry } from "./network/network-registry.ts";
import { guardTable } from "./network/port-guard.ts";
import { tableName } from "./network/ruleset.ts";
import { unmountNetwork } from "./network/standing-network.ts";
import { ProgramError, runProgram } from "./run-program.ts";
import { stopTask } from "./stop-task.ts";

/**
 * Ends every machine of this instance and takes away what it made on the host: processes, cgroups, bridges, filter rules, routing.
 * Containers and what addresses they had stay, for `keepServing`. Goes as far as it can when containerd is dead, then says what failed.
 * @throws AggregateError of the steps that failed
 */
export async function teardownHost(settings: Settings, signal: AbortSignal): Promise<void> {
  const failures: unknown[] = [];
  const step = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      signal.throwIfAborted();
      failures.push(error);
    }
  };
  const registry = await readNetworkRegistry(settings);
  const networks = networksOf(settings, registry);
  for (const org of Object.keys(registry.orgs)) await step(() => stopMachinesOf(settings, org, signal));
  await step(() => emptyCgroup(instanceCgroup(settings.instance), 20_000, signal));
  await step(() => removeCgroup(instanceCgroup(settings.instance)));
  await step(removeEmptyParents);
  for (const file of await standingNetworks(settings)) await step(() => unmountNetwork(file, signal));
  for (const network of networks) await step(() => removeBridge(network.bridge, signal));
  await step(() => removeTable(settings, signal));
  if (!(await otherInstancesRoute())) await step(() => restoreForwarding(settings));
  if (failures.length > 0) {
    const causes = failures.map((failure) => (failure instanceof Error ? failure.message : String(failure)));
    throw new AggregateError(failures, `Cannot take away all of instance "${settings.instance}" from this host: ${causes.join("; ")}`);
  }
}

const politeMs = 5000;

async function stopMachinesOf(settings: Settings, org: string, signal: AbortSignal): Promise<void> {
  await using containerd = openContainerd(settings.containerd.socket);
  const ctr = containerd.namespace(orgNamespace(org));
  const { containers } = await ctr.containers.list({}, { signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]) });
  const ours = containers.filter((container) => planOf(container) !== undefined);
  await Promise.all(ours.map(({ id }) => stopTask(ctr, id, { signal: "SIGTERM", timeoutMs: politeMs }, signal)));
}

async function standingNetworks(settings: Settings): Promise<readonly string[]> {
  const entries = await readdir(instancePaths.machineNetworks(settings), { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => path.join(entry.parentPath, entry.name));
}

async function removeBridge(bridge: string, signal: AbortSignal): Promise<void> {
  for (const port of await readdir(`/sys/class/net/${bridge}/brif`).catch(() => [])) await removeLink(port, signal);
  await removeLink(bridge, signal);
}

async function removeLink(link: string, signal: AbortSignal): Promise<void> {
  try {
    await runProgram("ip", ["link", "delete", "dev", link], { signal });
  } catch (error) {
    if (!(error instanceof ProgramError && error.stderr.includes("Cannot find device"))) throw error;
  }
}

async function removeTable(settings: Settings, signal: AbortSignal): Promise<void> {
  // naming a table makes it, so that deleting one that is not there is no error
  const tables = [`inet ${tableName(settings.instance)}`, guardTable(settings.instance)];
  await loadRules(settings, tables.map((table) => `table ${table}\ndelete table ${table}\n`).join(""), signal);
}

async function otherInstancesRoute(): Promise<boolean> {
  const links = await readdir("/sys/class/net");
  for (const link of links.filter((name) => name.startsWith(bridgePrefix))) {
    const state = await readFile(path.join("/sys/class/net", link, "operstate"), "utf8").catch(() => undefined);
    if (state !== undefined) return true;
  }
  return false;
}

/** `/slipway` itself goes with the last instance. */
async function removeEmptyParents(): Promise<void> {
  const parent = path.posix.dirname(instanceCgroup("any"));
  for (const dir of await cgroupDirs(parent)) {
    const inside = await readdir(dir, { withFileTypes: true }).catch(() => []);
    if (inside.some((entry) => entry.isDirectory())) return;
  }
  await removeCgroup(parent);
}
