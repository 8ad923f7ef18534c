import { setTimeout as delay } from "node:timers/promises";
import type { Settings } from "../config/settings.ts";
import { cgroupPids, machineCgroup } from "./cgroup.ts";
import { readNetworkRegistry } from "./network/network-registry.ts";
import type { RouterClient } from "./router/admin-client.ts";
import { foundGone, type Restarts, triedAgain } from "./restart-pause.ts";
import { servingMachines } from "./serving-machines.ts";
import { machineLabels, type Machines, type MachineState } from "./types.ts";

export type KeepServingDeps = {
  readonly machines: Pick<Machines, "list" | "revive">;
  readonly router: Pick<RouterClient, "listRoutes" | "moveTarget">;
  readonly settings: Settings;
  /** the org's network is up and the mirror listens in it */
  readonly ensureOrg: (org: string, signal: AbortSignal) => Promise<void>;
  readonly log: { info(fields: object, message: string): void; error(fields: object, message: string): void };
  readonly now?: () => number;
};

export type KeepServing = {
  /** One look at all orgs and routes; starts what is gone and due. Never rejects: what failed is logged and tried again on a later look. */
  look(signal: AbortSignal): Promise<void>;
};

const atOnce = 4;
const lookTimeoutMs = 120_000;
const orgTimeoutMs = 10_000;

/**
 * Machines of live releases run: one whose process is gone, and that nobody stopped on purpose, is started again.
 * All others are the business of the run that made them: an unproven release must be seen to fail.
 */
export function createKeepServing(deps: KeepServingDeps): KeepServing {
  const { machines, router, settings, log, now = Date.now } = deps;
  let restarts = new Map<string, Restarts>();
  let doubtful = new Set<string>();

  async function look(signal: AbortSignal): Promise<void> {
    await ensureOrgs(signal);
    const [routes, all] = await Promise.all([
      router.listRoutes(signal),
      machines.list({ labels: { [machineLabels.role]: "app" } }, signal),
    ]);
    const serving = servingMachines(routes, all);
    forgetOthers(serving.map(keyOf));
    const gone = await withoutProcess(serving);
    const due = gone.filter((machine) => isDue(keyOf(machine)));
    for (let from = 0; from < due.length; from += atOnce) {
      await Promise.all(due.slice(from, from + atOnce).map((each) => startAgain(each, signal)));
    }
  }

  /** After a reboot, or a `slipway down`, neither bridges nor the mirror's listeners are there. */
  async function ensureOrgs(signal: AbortSignal): Promise<void> {
    const orgs = Object.keys((await readNetworkRegistry(settings)).orgs);
    const outcomes = await Promise.allSettled(
      orgs.map((org) => deps.ensureOrg(org, AbortSignal.any([signal, AbortSignal.timeout(orgTimeoutMs)]))),
    );
    signal.throwIfAborted();
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") log.error({ error: String(outcome.reason) }, "cannot set up an org's network yet");
    }
  }

  /** A process that containerd does not answer for may run: containerd has just come back, or is slow. Then a second look decides. */
  async function withoutProcess(serving: readonly MachineState[]): Promise<readonly MachineState[]> {
    const ended = serving.filter((machine) => machine.state === "stopped" || machine.state === "created");
    const inDoubt = new Set<string>();
    for (const machine of ended) {
      if (machine.exit !== undefined) continue;
      const pids = await cgroupPids(machineCgroup(settings.instance, machine.org, machine.id));
      if (pids.length > 0) inDoubt.add(keyOf(machine));
    }
    const before = doubtful;
    doubtful = inDoubt;
    return ended.filter((machine) => !inDoubt.has(keyOf(machine)) || before.has(keyOf(machine)));
  }

  function isDue(key: string): boolean {
    const state = foundGone(restarts.get(key), now());
    restarts.set(key, state);
    return state.dueAtMs <= now();
  }

  async function startAgain(machine: MachineState, signal: AbortSignal): Promise<void> {
    const { org, id } = machine;
    const key = keyOf(machine);
    const tried = triedAgain(foundGone(restarts.get(key), now()), now());
    restarts.set(key, tried);
    try {
      const started = await machines.revive(org, id, signal);
      if (started === undefined) return;
      const { address: from } = machine;
      if (from !== undefined && started.address !== undefined && started.address !== from) {
        await router.moveTarget(org, machine.labels[machineLabels.app]!, { from, to: started.address }, signal);
      }
      log.info({ org, machine: id, exitCode: machine.exit?.code, inARow: tried.inARow }, "started a machine again");
    } catch (error) {
      signal.throwIfAborted();
      log.error({ org, machine: id, inARow: tried.inARow, error: String(error) }, "cannot start a machine again");
    }
  }

  function forgetOthers(keys: readonly string[]): void {
    const kept = new Set(keys);
    restarts = new Map([...restarts].filter(([key]) => kept.has(key)));
  }

  return {
    async look(signal) {
      try {
        await look(AbortSignal.any([signal, AbortSignal.timeout(lookTimeoutMs)]));
      } catch (error) {
        if (!signal.aborted) log.error({ error: String(error) }, "cannot look after the machines");
      }
    },
  };
}

/** Looks again and again, one look at a time, until disposed. */
export function startKeepServing(keepServing: KeepServing, intervalMs: number): AsyncDisposable & { readonly firstLook: Promise<void> } {
  const ending = new AbortController();
  const firstLook = keepServing.look(ending.signal);
  const loop = (async () => {
    for (let look = firstLook; ; look = keepServing.look(ending.signal)) {
      await look;
      await delay(intervalMs, undefined, { signal: ending.signal });
    }
  })().catch(() => undefined);
  return {
    firstLook,
    async [Symbol.asyncDispose]() {
      ending.abort();
      await loop;
    },
  };
}

const keyOf = ({ org, id }: MachineState): string => `${org}/${id}`;
