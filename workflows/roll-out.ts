import { CancellationScope } from "@temporalio/workflow";
import type { HostActivities } from "./activities.ts";
import { machineId } from "./machine-id.ts";
import type { DeployInput, MachineGroup, MachineView } from "./types.ts";

export type Slot = { readonly group: MachineGroup; readonly ordinal: number };

/** Every place a machine fills. */
export function slotsOf(groups: readonly MachineGroup[]): readonly Slot[] {
  return groups.flatMap((group) => Array.from({ length: group.count }, (_, ordinal) => ({ group, ordinal })));
}

/** The group whose machines answer the app's HTTP requests: `app`, or the first one. */
export function servingGroup(groups: readonly MachineGroup[]): string | undefined {
  return (groups.find((group) => group.name === "app") ?? groups[0])?.name;
}

/**
 * Starts the new release beside the old one and waits until every machine has proved itself. On any failure, and on cancellation, the
 * new machines are taken away again: the old ones were not touched and go on serving.
 */
export async function startBeside(
  here: HostActivities,
  host: string,
  input: DeployInput,
  image: { name: string; digest: MachineView["digest"] },
  version: number,
): Promise<readonly MachineView[]> {
  const { org, app, config } = input;
  const slots = slotsOf(config.groups);
  try {
    return await settled(slots.map((slot) => startHealthy(slot)));
  } catch (failure) {
    await CancellationScope.nonCancellable(() =>
      settled(
        slots.map((slot) => {
          const id = machineId(app, slot.group.name, slot.ordinal, version);
          return here.removeMachine({ org, app, machineId: id, signal: "SIGKILL", timeoutMs: 0 }, `remove ${id}: it never served`);
        }),
      ),
    );
    throw failure;
  }

  async function startHealthy({ group, ordinal }: Slot): Promise<MachineView> {
    const id = machineId(app, group.name, ordinal, version);
    const checks = group.name === servingGroup(config.groups) ? (config.http?.checks ?? []) : [];
    return here.startMachine(
      { org, app, version, group, ordinal, image, env: config.env, checks, healthyWithinMs: config.waitTimeoutMs },
      `start ${id} on ${host}, until it is healthy`,
    );
  }
}

/** Leaves nothing running behind a failure: waits for all, then throws the first. */
async function settled<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}
