import { orgNamespace } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import type { Containerd } from "../containerd/client.ts";
import { planOf, stoppedLabel } from "./create-container.ts";
import { readNetworkRegistry } from "./network/network-registry.ts";
import type { MachinePlan, Machines, MachineState } from "./types.ts";

export type Restored = {
  readonly started: readonly MachineState[];
  readonly failed: readonly { readonly org: string; readonly id: string; readonly error: unknown }[];
};

/**
 * After a reboot or `slipway down` and `up`: starts every machine again that ran and was not stopped on purpose. Addresses may be
 * others than before, so the routes have to follow. A machine that does not start does not keep the others from it.
 */
export async function restoreMachines(
  machines: Machines,
  containerd: Containerd,
  settings: Settings,
  signal: AbortSignal,
): Promise<Restored> {
  const started: MachineState[] = [];
  const failed: { org: string; id: string; error: unknown }[] = [];
  for (const plan of await wantedPlans(containerd, settings, signal)) {
    try {
      started.push(await machines.start(plan, signal));
    } catch (error) {
      signal.throwIfAborted();
      failed.push({ org: plan.org, id: plan.id, error });
    }
  }
  return { started, failed };
}

/** Plans of machines that have a container and no task. */
async function wantedPlans(containerd: Containerd, settings: Settings, signal: AbortSignal): Promise<readonly MachinePlan[]> {
  const plans: MachinePlan[] = [];
  for (const org of Object.keys((await readNetworkRegistry(settings)).orgs)) {
    const ctr = containerd.namespace(orgNamespace(org));
    const { containers } = await ctr.containers.list({}, { signal });
    const { tasks } = await ctr.tasks.list({}, { signal });
    const withTask = new Set(tasks.map(({ id }) => id));
    for (const container of containers) {
      const plan = planOf(container);
      if (plan !== undefined && !withTask.has(container.id) && container.labels[stoppedLabel] === undefined) plans.push(plan);
    }
  }
  return plans;
}
