import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { instancePaths, orgNamespace } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import { type Containerd, ensureNamespace, orUndefined } from "../containerd/client.ts";
import { emptyCgroup, machineCgroup, removeCgroup } from "./cgroup.ts";
import { planOf, standBy, standsBy, stoppedLabel } from "./create-container.ts";
import { MachineError } from "./errors.ts";
import { createKeyedQueue } from "../config/keyed-queue.ts";
import { machineState } from "./machine-state.ts";
import { readAddresses } from "./network/address-file.ts";
import { createAddressClaims } from "./network/address-claims.ts";
import { detachNetwork } from "./network/attach-network.ts";
import { createOrgNetworks } from "./network/org-networks.ts";
import { removeStandingNetwork } from "./network/standing-network.ts";
import type { SeccompProfile } from "./oci-spec.ts";
import { runtimeOf } from "./runtime.ts";
import { renewSnapshot } from "./prepare-snapshot.ts";
import { networksOf, readNetworkRegistry } from "./network/network-registry.ts";
import { checkPlan } from "./check-plan.ts";
import { allDone } from "./all-done.ts";
import { clearMachine, restartMachine, startMachine } from "./start-machine.ts";
import { leftoversOf } from "./leftovers.ts";
import { removeStartLease } from "./start-lease.ts";
import { stopTask } from "./stop-task.ts";
import { machineLabels, type MachinePlan, type Machines, type MachineState, type StopOptions } from "./types.ts";

export type MachinesDeps = {
  readonly containerd: Containerd;
  readonly settings: Settings;
  /** default: `<tools.shareDir>/seccomp.json`, read when the first machine starts */
  readonly seccompProfile?: SeccompProfile;
};

/** The machines of this host, on its containerd. Calls for one machine come one after another. */
export function createMachines({ containerd, settings, seccompProfile }: MachinesDeps): Machines {
  const networks = createOrgNetworks(settings);
  const addressClaims = createAddressClaims(settings);
  const inTurn = createKeyedQueue();
  const namespaces = new Set<string>();
  let seccomp = seccompProfile;
  const namespaceOf = (org: string) => containerd.namespace(orgNamespace(org));

  async function inspect(org: string, id: string, signal: AbortSignal): Promise<MachineState | undefined> {
    const ctr = namespaceOf(org);
    const found = await orUndefined(ctr.containers.get({ id }, { signal }));
    if (found?.container === undefined || planOf(found.container) === undefined) return undefined;
    const task = await orUndefined(ctr.tasks.get({ containerId: id }, { signal }));
    return machineState(org, found.container, task?.process, await readAddresses(settings, org, id));
  }

  async function start(plan: MachinePlan, signal: AbortSignal): Promise<MachineState> {
    checkPlan(plan);
    const { network, idMapping } = await networks.ensure(plan.org, signal);
    const running = await inspect(plan.org, plan.id, signal);
    if (running?.state === "running" && running.digest === plan.image.digest) {
      await removeStartLease(namespaceOf(plan.org), plan.id, signal);
      return running;
    }
    if (!namespaces.has(plan.org)) await ensureNamespace(containerd, orgNamespace(plan.org), signal);
    namespaces.add(plan.org);
    seccomp ??= readSeccomp(settings);
    const runtime = runtimeOf(settings, plan);
    const deps = { containerd, settings, namespace: orgNamespace(plan.org), network, addressClaims, idMapping, seccomp, runtime };
    await startMachine(deps, plan, signal);
    const started = await inspect(plan.org, plan.id, signal);
    if (started !== undefined) return started;
    throw new MachineError("START_FAILED", `Cannot start machine "${plan.id}": it was removed at the same time`);
  }

  async function revive(org: string, id: string, signal: AbortSignal): Promise<MachineState | undefined> {
    const found = await orUndefined(namespaceOf(org).containers.get({ id }, { signal }));
    const plan = found?.container === undefined ? undefined : planOf(found.container);
    if (plan === undefined || found?.container?.labels[stoppedLabel] !== undefined) return undefined;
    const state = await inspect(org, id, signal);
    if (state?.state === "running" || state?.state === "paused") return state;
    const { network, idMapping } = await networks.ensure(org, signal);
    seccomp ??= readSeccomp(settings);
    // a container keeps the runtime that it was made with
    const runtime = found?.container?.runtime?.name ?? runtimeOf(settings, plan);
    const deps = { containerd, settings, namespace: orgNamespace(org), network, addressClaims, idMapping, seccomp, runtime };
    await restartMachine(deps, plan, signal);
    return await inspect(org, id, signal);
  }

  async function stop(org: string, id: string, options: StopOptions, signal: AbortSignal): Promise<void> {
    const ctr = namespaceOf(org);
    const container = { id, labels: { [stoppedLabel]: "true" } };
    await orUndefined(ctr.containers.update({ container, updateMask: { paths: [`labels.${stoppedLabel}`] } }, { signal }));
    await stopTask(ctr, id, options, signal);
    await emptyCgroup(machineCgroup(settings.instance, org, id), 10_000, signal);
    const found = await orUndefined(ctr.containers.get({ id }, { signal }));
    if (found?.container === undefined || planOf(found.container)?.standby !== true || standsBy(found.container)) return;
    // what it wrote beside its volumes goes now, and the next start does not wait for it
    await renewSnapshot(ctr, settings.containerd.snapshotter, id, signal);
    await standBy(ctr, id, signal);
  }

  async function detach(org: string, id: string, signal: AbortSignal): Promise<void> {
    if ((await readNetworkRegistry(settings)).orgs[org] === undefined) return;
    const { network } = await networks.ensure(org, signal);
    await detachNetwork(settings, network, id, signal);
  }

  async function remove(org: string, id: string, options: StopOptions, signal: AbortSignal): Promise<void> {
    await stopTask(namespaceOf(org), id, options, signal);
    // before its address may be another's
    await emptyCgroup(machineCgroup(settings.instance, org, id), 10_000, signal);
    await removeStandingNetwork(settings, { org, id }, signal);
    await allDone([clearMachine(namespaceOf(org), settings, { org, id }, signal), detach(org, id, signal)]);
    await removeCgroup(machineCgroup(settings.instance, org, id));
    await rm(instancePaths.machineDir(settings, org, id), { recursive: true, force: true });
  }

  async function removeLeftovers(signal: AbortSignal): Promise<readonly string[]> {
    const removed: string[] = [];
    for (const network of networksOf(settings, await readNetworkRegistry(settings))) {
      const { org } = network;
      const { withoutContainer, leased } = await leftoversOf(namespaceOf(org), settings, network, signal);
      for (const id of leased) await inTurn(`${org}/${id}`, () => removeStartLease(namespaceOf(org), id, signal));
      for (const id of withoutContainer) {
        await inTurn(`${org}/${id}`, async () => {
          if ((await inspect(org, id, signal)) !== undefined) return;
          await remove(org, id, { signal: "SIGKILL", timeoutMs: 0 }, signal);
          removed.push(`${org}/${id}`);
        });
      }
    }
    return removed;
  }

  async function listOrg(org: string, labels: Readonly<Record<string, string>>, signal: AbortSignal): Promise<MachineState[]> {
    const ctr = namespaceOf(org);
    const { containers } = await ctr.containers.list({}, { signal });
    const ours = containers.filter((container) => planOf(container) !== undefined && hasLabels(container.labels, labels));
    const { tasks } = await ctr.tasks.list({}, { signal });
    const byId = new Map(tasks.map((task) => [task.id, task]));
    return await Promise.all(
      ours.map(async (found) => machineState(org, found, byId.get(found.id), await readAddresses(settings, org, found.id))),
    );
  }

  return {
    ensureNetwork: async (org, signal) => (await networks.ensure(org, signal)).network,
    start: (plan, signal) => inTurn(`${plan.org}/${plan.id}`, () => start(plan, signal)),
    revive: (org, id, signal) => inTurn(`${org}/${id}`, () => revive(org, id, signal)),
    keepRunning: (org, id, signal) =>
      inTurn(`${org}/${id}`, async () => {
        const container = { id, labels: { [machineLabels.live]: "true" } };
        const updateMask = { paths: [`labels.${machineLabels.live}`] };
        await orUndefined(namespaceOf(org).containers.update({ container, updateMask }, { signal }));
      }),
    inspect,
    async list({ org, labels = {} }, signal) {
      const orgs = org === undefined ? Object.keys((await readNetworkRegistry(settings)).orgs) : [org];
      return (await Promise.all(orgs.map((each) => listOrg(each, labels, signal)))).flat();
    },
    stop: (org, id, options, signal) => inTurn(`${org}/${id}`, () => stop(org, id, options, signal)),
    remove: (org, id, options, signal) => inTurn(`${org}/${id}`, () => remove(org, id, options, signal)),
    removeLeftovers,
    pause: (org, id, signal) =>
      inTurn(`${org}/${id}`, async () => {
        const state = await existing(org, id, signal);
        if (state.state !== "paused") await namespaceOf(org).tasks.pause({ containerId: id }, { signal });
      }),
    resume: (org, id, signal) =>
      inTurn(`${org}/${id}`, async () => {
        const state = await existing(org, id, signal);
        if (state.state === "paused") await namespaceOf(org).tasks.resume({ containerId: id }, { signal });
      }),
  };

  async function existing(org: string, id: string, signal: AbortSignal): Promise<MachineState> {
    const state = await inspect(org, id, signal);
    if (state !== undefined && state.state !== "stopped") return state;
    throw new MachineError("MACHINE_MISSING", `Cannot find a running machine "${id}" of org "${org}" on this host`);
  }
}

function hasLabels(labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([key, value]) => labels[key] === value);
}

function readSeccomp(settings: Settings): SeccompProfile {
  return JSON.parse(readFileSync(path.join(settings.tools.shareDir, "seccomp.json"), "utf8")) as SeccompProfile;
}
