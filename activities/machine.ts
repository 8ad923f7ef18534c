import { awaitHealthy } from "../machines/checks.ts";
import { MachineError } from "../machines/errors.ts";
import type { RouterClient } from "../machines/router/admin-client.ts";
import { type MachinePlan, type MachineState, type Machines, type StopOptions, machineLabels } from "../machines/types.ts";
import { machineId } from "../workflows/machine-id.ts";
import type { MachineView } from "../workflows/types.ts";
import { activityFailure } from "./failures.ts";
import { withHeartbeat } from "./heartbeat.ts";
import type { MachineActivities, StartMachineInput } from "./types.ts";

export type MachineDeps = {
  readonly hostId: string;
  readonly machines: Machines;
  readonly router: RouterClient;
  readonly logTail: (org: string, machineId: string, lines: number) => Promise<readonly string[]>;
};

const shownLines = 20;
const pidsLimit = 2048;
/** How long a machine that no new request reaches may go on with the ones it has. */
const drainTimeoutMs = 10_000;

export function createMachineActivities({ hostId, machines, router, logTail }: MachineDeps): MachineActivities {
  return {
    startMachine: (input) =>
      withHeartbeat(async (signal, report) => {
        const plan = machinePlan(input);
        const started = await start(plan, signal);
        await becomesHealthy(started, input, signal, report);
        return { ...toView(started), healthy: true };
      }),

    switchRoute: ({ org, app, machineIds, port, addresses }) =>
      withHeartbeat(async (signal) => {
        try {
          const route = await routeTo({ org, app, port, addresses }, signal);
          for (const id of machineIds) await machines.keepRunning(org, id, signal);
          return route;
        } catch (error) {
          signal.throwIfAborted();
          throw activityFailure(
            "RouteFailed",
            `Cannot switch the route of "${app}": ${error instanceof Error ? error.message : String(error)}`,
            [],
            error,
          );
        }
      }),

    removeMachine: ({ org, app, machineId: id, signal: killSignal, timeoutMs }) =>
      withHeartbeat(async (signal) => {
        const options: StopOptions = { signal: killSignal, timeoutMs };
        const machine = await machines.inspect(org, id, signal);
        // without a container, too: a start that was killed leaves other things
        if (machine?.address !== undefined && killSignal !== "SIGKILL") {
          await router.awaitDrained(org, app, machine.address, { timeoutMs: drainTimeoutMs, signal });
        }
        await machines.remove(org, id, options, signal);
      }),

    listMachines: ({ org, app }) =>
      withHeartbeat(async (signal) => (await machines.list({ org, labels: { [machineLabels.app]: app } }, signal)).map(toView)),
  };

  async function routeTo(
    { org, app, port, addresses }: { org: string; app: string; port: number | undefined; addresses: readonly string[] },
    signal: AbortSignal,
  ): Promise<{ url?: string }> {
    if (port === undefined) {
      await router.deleteRoute(org, app, signal);
      return {};
    }
    return await router.putRoute(org, app, { targets: addresses.map((address) => ({ address, port })) }, signal);
  }

  async function start(plan: MachinePlan, signal: AbortSignal): Promise<MachineState> {
    try {
      return await machines.start(plan, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw await startFailure(plan, error);
    }
  }

  async function becomesHealthy(
    { org, id, address }: MachineState,
    { checks, healthyWithinMs }: StartMachineInput,
    signal: AbortSignal,
    report: (details: unknown) => void,
  ): Promise<void> {
    const inspect = () => machines.inspect(org, id, signal);
    try {
      await awaitHealthy({ address: address ?? "", checks, timeoutMs: healthyWithinMs, inspect }, { signal, onAttempt: report });
    } catch (error) {
      if (!(error instanceof MachineError)) throw error;
      const message = `Machine "${id}" did not become healthy: ${error.message}`;
      throw activityFailure("MachineUnhealthy", message, await logTail(org, id, shownLines), error);
    }
  }

  function toView(machine: MachineState): MachineView {
    const { labels, id, digest, state, address } = machine;
    return {
      id,
      host: hostId,
      group: labels[machineLabels.group] ?? "app",
      ordinal: Number(labels[machineLabels.ordinal] ?? 0),
      digest,
      state: state === "paused" ? "stopped" : state,
      healthy: false,
      ...(address === undefined ? {} : { address }),
    };
  }

  async function startFailure(plan: MachinePlan, error: unknown): Promise<Error> {
    const message = error instanceof Error ? error.message : String(error);
    const lines = await logTail(plan.org, plan.id, shownLines).catch(() => []);
    const failure = activityFailure("MachineStartFailed", `Cannot start machine "${plan.id}": ${message}`, lines, error);
    return error instanceof MachineError && !error.retryable ? Object.assign(failure, { nonRetryable: true }) : failure;
  }
}

/** What a slot of a release is as a machine. */
export function machinePlan({ org, app, version, group, ordinal, image, env }: StartMachineInput): MachinePlan {
  const id = machineId(app, group.name, ordinal, version);
  return {
    org,
    id,
    image,
    labels: {
      [machineLabels.role]: "app",
      [machineLabels.app]: app,
      [machineLabels.group]: group.name,
      [machineLabels.ordinal]: String(ordinal),
      [machineLabels.version]: String(version),
      [machineLabels.digest]: image.digest,
    },
    ...(group.command === undefined ? {} : { args: group.command }),
    env: { ...env, SLIPWAY_ORG: org, SLIPWAY_APP: app, SLIPWAY_RELEASE: `v${version}`, SLIPWAY_MACHINE: id },
    isolation: "sandboxed",
    mounts: [],
    limits: { memoryMb: group.memoryMb, cpus: group.cpus, pids: pidsLimit },
    hosts: [],
  };
}
