import { ApplicationFailure } from "@temporalio/common";
import type { BuildActivities, ControlActivities, ImageActivities, MachineActivities } from "../../activities/types.ts";
import { digestOf } from "../../oci/digest.ts";
import { parseRepository } from "../../oci/repository.ts";
import type { DeployInput, MachineView, Release } from "../../workflows/types.ts";

type Activities = BuildActivities & ControlActivities & ImageActivities & MachineActivities;
type Overrides = {
  [K in keyof Activities]?: (input: Parameters<Activities[K]>[0], usual: () => ReturnType<Activities[K]>) => ReturnType<Activities[K]>;
};

/**
 * A host that holds its state in memory, for what workflows do when activities fail in ways and at times that real daemons cannot be
 * made to; every way that can be made is tested on the real stack instead.
 */
export function scriptedHost(control: Pick<ControlActivities, "askForTurn" | "isRunOpen">, overrides: Overrides = {}) {
  const machines = new Map<string, MachineView>();
  const releases: Release[] = [];
  const removed: string[] = [];
  const routes: (readonly string[])[] = [];
  const calls = new Map<string, number>();
  const digest = digestOf("image");

  const usual: Activities = {
    wakeBuilder: async () => ({ address: "unix:/builder", wokenFrom: "stopped" }),
    build: async ({ org, app, runId }) => ({
      repository: parseRepository(`${org}/${app}`),
      tag: "run-1",
      imageName: `registry.example/${org}/${app}:${runId}`,
      exporterDigest: digest,
      cachedSteps: 0,
      steps: 1,
    }),
    verifyImage: async () => ({ digest, sizeBytes: 1 }),
    pullImage: async ({ digest }) => ({ digest, sizeBytes: 1, fetchedBytes: 1 }),
    pinImage: async () => undefined,
    unpinImage: async () => undefined,
    pushUpstream: async () => ({ sentBytes: 1, skippedBytes: 0, totalBytes: 0 }),
    startMachine: async ({ app, group, ordinal, version, image }) => {
      const id = `${app}-${group.name}-${ordinal}-v${version}`;
      const machine: MachineView = {
        id,
        host: "test",
        group: group.name,
        ordinal,
        digest: image.digest,
        state: "running",
        healthy: true,
        address: `10.0.0.${version}`,
      };
      machines.set(id, machine);
      return machine;
    },
    switchRoute: async ({ addresses }) => {
      routes.push(addresses);
      return { url: "http://127.0.0.1:8080" };
    },
    removeMachine: async ({ machineId }) => {
      machines.delete(machineId);
      removed.push(machineId);
    },
    listMachines: async ({ app }) => [...machines.values()].filter(({ id }) => id.startsWith(`${app}-`)),
    admitRun: async ({ key }) => {
      const release = releases.find((candidate) => candidate.key === key);
      return { host: "test", ...(release === undefined ? {} : { release }) };
    },
    recoverApp: async () => {
      const release = releases.at(-1);
      return { host: "test", nextVersion: (release?.version ?? 0) + 1, ...(release === undefined ? {} : { release }) };
    },
    recordRelease: async ({ release }) => void releases.push(release),
    askForTurn: (input) => control.askForTurn(input),
    isRunOpen: (input) => control.isRunOpen(input),
  };

  const activities: Readonly<Record<string, (input: unknown) => Promise<unknown>>> = Object.fromEntries(
    Object.entries(usual).map(([name, activity]) => {
      const override = overrides[name as keyof Activities] as ((input: unknown, usual: () => unknown) => unknown) | undefined;
      const call = activity as (input: unknown) => unknown;
      return [
        name,
        async (input: unknown) => {
          calls.set(name, (calls.get(name) ?? 0) + 1);
          return override === undefined ? call(input) : override(input, () => call(input));
        },
      ];
    }),
  );
  return { activities, machines, releases, removed, routes, callsOf: (name: keyof Activities) => calls.get(name) ?? 0 };
}

export function deployInput(app: string, key: string): DeployInput {
  const check = { path: "/", port: 8080, method: "GET", intervalMs: 100, timeoutMs: 100, gracePeriodMs: 0 };
  return {
    org: "acme",
    app,
    key,
    source: { repository: parseRepository(`acme/${app}`), digest: digestOf("source"), sizeBytes: 1 },
    config: {
      app,
      env: {},
      build: { dockerfile: "Dockerfile", args: {} },
      groups: [{ name: "app", count: 1, memoryMb: 64, cpus: 1 }],
      http: { internalPort: 8080, checks: [check] },
      waitTimeoutMs: 10_000,
      killTimeoutMs: 100,
      killSignal: "SIGTERM",
    },
    noCache: false,
  };
}

export const failing = (type: string, nonRetryable: boolean): ApplicationFailure =>
  ApplicationFailure.create({ type, message: `${type} on purpose`, nonRetryable, details: [{ logTail: ["last words"] }] });
