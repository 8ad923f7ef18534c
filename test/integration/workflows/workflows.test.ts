import path from "node:path";
import { fileURLToPath } from "node:url";
import { Client, WorkflowFailedError } from "@temporalio/client";
import { ApplicationFailure } from "@temporalio/common";
import { TestWorkflowEnvironment } from "@temporalio/testing";
import { DefaultLogger, Runtime, Worker, bundleWorkflowCode } from "@temporalio/worker";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { createControlActivities } from "../../../activities/control.ts";
import type { app, deploy } from "../../../workflows/index.ts";
import { searchAttributeNames, workflowIds } from "../../../workflows/ids.ts";
import { appQuery, runQuery } from "../../../workflows/messages.ts";
import type { DeployError, RunView } from "../../../workflows/types.ts";
import { deployInput, failing, scriptedHost } from "../../support/scripted-host.ts";

const workflowsPath = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../../workflows/index.ts");

let env: TestWorkflowEnvironment;
let client: Client;
let workers: readonly Worker[] = [];
let running: Promise<unknown>;
/** whose activities the workers run: every test has a host of its own */
let current: ReturnType<typeof scriptedHost>;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger("ERROR") });
  const executable = { type: "existing-path", path: path.join(inject("toolsBinDir"), "temporal-test-server") } as const;
  const [environment, workflowBundle] = await Promise.all([
    TestWorkflowEnvironment.createTimeSkipping({ server: { executable } }),
    bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger("ERROR") }),
  ]);
  env = environment;
  client = env.client;
  const keyword = 2;
  const searchAttributes = Object.fromEntries(Object.values(searchAttributeNames).map((name) => [name, keyword]));
  await env.connection.operatorService.addSearchAttributes({ namespace: "default", searchAttributes });
  current = hostWith({});
  const activities = Object.fromEntries(
    Object.keys(current.activities).map((name) => [name, (input: unknown) => current.activities[name]!(input)]),
  );
  const options = { connection: env.nativeConnection, activities };
  workers = await Promise.all([
    Worker.create({ ...options, taskQueue: "control", workflowBundle }),
    Worker.create({ ...options, taskQueue: "host:test" }),
  ]);
  running = Promise.all(workers.map((worker) => worker.run()));
});

afterAll(async () => {
  for (const worker of workers) worker.shutdown();
  await running;
  await env?.teardown();
});

type Overrides = NonNullable<Parameters<typeof scriptedHost>[1]>;

function hostWith(overrides: Overrides) {
  const control = createControlActivities({ ledger: undefined as never, client, hosts: ["test"] });
  return scriptedHost(control, overrides);
}

/** `work` has the state of a fresh host and a way to start runs on it. */
async function withHost<T>(
  overrides: Overrides,
  work: (host: ReturnType<typeof scriptedHost>, start: typeof startDeploy) => Promise<T>,
): Promise<T> {
  current = hostWith(overrides);
  return work(current, startDeploy);
}

const startDeploy = (name: string, key: string) =>
  client.workflow.start<typeof deploy>("deploy", {
    taskQueue: "control",
    workflowId: workflowIds.deploy("acme", name, key),
    args: [deployInput(name, key)],
  });

async function errorOf(result: Promise<unknown>): Promise<DeployError> {
  const failure = await result.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(WorkflowFailedError);
  const { cause } = failure as WorkflowFailedError;
  expect(cause).toBeInstanceOf(ApplicationFailure);
  return ((cause as ApplicationFailure).details![0] as RunView).error!;
}

describe("the deploy workflow", () => {
  it("retires the machines of the release it replaces, after the route was switched", async () => {
    await withHost({}, async (host, start) => {
      await (await start("web", "1")).result();
      const { version, previousVersion } = await (await start("web", "2")).result();
      expect({ version, previousVersion }).toEqual({ version: 2, previousVersion: 1 });
      await expect.poll(() => host.removed).toEqual(["web-app-0-v1"]);
      expect(host.routes).toEqual([["10.0.0.1"], ["10.0.0.2"]]);
      expect(host.releases.map((release) => release.version)).toEqual([1, 2]);
    });
  });

  it("builds again when the builder is lost, and does not when the Dockerfile is wrong", async () => {
    let builds = 0;
    const build: Overrides["build"] = async (_input, usual) => {
      if (builds++ < 2) throw failing("BuilderLost", false);
      return usual();
    };
    await withHost({ build }, async (host, start) => {
      await (await start("lost", "1")).result();
      expect(host.callsOf("build")).toBe(3);
    });
    await withHost({ build: () => Promise.reject(failing("BuildFailed", true)) }, async (host, start) => {
      const error = await errorOf((await start("wrong", "1")).result());
      expect(error).toMatchObject({ code: "BUILD_FAILED", stage: "build", logTail: ["last words"], retryable: false });
      expect(host.callsOf("build")).toBe(1);
    });
  });

  it("takes its new machines away when one of them is not healthy, and gives the turn back", async () => {
    let unhealthy = false;
    const startMachine: Overrides["startMachine"] = (_input, usual) =>
      unhealthy ? Promise.reject(failing("MachineUnhealthy", true)) : usual();
    await withHost({ startMachine }, async (host, start) => {
      await (await start("sick", "1")).result();
      unhealthy = true;
      const error = await errorOf((await start("sick", "2")).result());
      expect(error).toMatchObject({ code: "DEPLOY_UNHEALTHY", stage: "rollout", serving: "v1, as before" });
      expect(host.removed).toEqual(["sick-app-0-v2"]);
      expect(host.routes).toEqual([["10.0.0.1"]]);
      unhealthy = false;
      expect((await (await start("sick", "3")).result()).version).toBe(3);
    });
  });

  it("goes on until the release is recorded and the route switched, once its machines have proved themselves", async () => {
    let tries = 0;
    const flaky = async <T>(usual: () => Promise<T>): Promise<T> => {
      if (tries++ < 3) throw failing("RouteFailed", false);
      return usual();
    };
    await withHost({ switchRoute: (_input, usual) => flaky(usual) }, async (host, start) => {
      expect((await (await start("going", "1")).result()).status).toBe("live");
      expect(host.callsOf("switchRoute")).toBe(4);
      expect(host.removed).not.toContain("going-app-0-v1");
    });
  });

  it("answers a key that has a release with that release, though Temporal has forgotten the run", async () => {
    await withHost({}, async (host, start) => {
      const first = await (await start("again", "ci-7")).result();
      expect(first.changed).toBe(true);
      const second = await (await start("again", "ci-7")).result();
      expect(second).toMatchObject({ changed: false, version: 1, status: "live" });
      expect(host.callsOf("build")).toBe(1);
    });
  });

  it("is superseded while it waits by a newer run, which goes live", async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const startMachine: Overrides["startMachine"] = async (input, usual) => {
      if (input.version === 1) await held;
      return usual();
    };
    await withHost({ startMachine }, async (_host, start) => {
      const first = await start("busy", "1");
      await expect.poll(async () => (await first.query(runQuery)).status).toBe("rolling out");
      const second = await start("busy", "2");
      await expect.poll(async () => (await second.query(runQuery)).status).toBe("queued");
      const third = await start("busy", "3");
      expect(await errorOf(second.result())).toMatchObject({ code: "SUPERSEDED" });
      release();
      expect((await first.result()).version).toBe(1);
      expect((await third.result()).version).toBe(2);
    });
  });

  it("that is cancelled in mid-roll-out ends cancelled, without its machines, and leaves the turn", async () => {
    const startMachine: Overrides["startMachine"] = async (input, usual) => {
      if (input.version === 1) throw failing("MachineStartFailed", false);
      return usual();
    };
    await withHost({ startMachine }, async (host, start) => {
      const first = await start("stopped", "1");
      await expect.poll(() => host.callsOf("startMachine")).toBeGreaterThan(0);
      await first.cancel();
      await expect(first.result()).rejects.toThrow(WorkflowFailedError);
      expect((await first.describe()).status.name).toBe("CANCELLED");
      expect(host.removed).toContain("stopped-app-0-v1");
      expect((await (await start("stopped", "2")).result()).version).toBe(2);
    });
  });
});

describe("the app workflow", () => {
  it("takes the turn back from a run that was terminated, and sweeps what it left", async () => {
    const startMachine: Overrides["startMachine"] = async (input, usual) => {
      const machine = await usual();
      // the first one starts and never becomes healthy
      if (input.version === 1) throw failing("MachineStartFailed", false);
      return machine;
    };
    await withHost({ startMachine }, async (host, start) => {
      const lost = await start("orphan", "1");
      await expect.poll(() => host.machines.size).toBe(1);
      await lost.terminate("on purpose");
      const next = await start("orphan", "2");
      expect((await next.result()).version).toBe(2);
      await expect.poll(() => host.removed).toContain("orphan-app-0-v1");
      const state = await client.workflow.getHandle<typeof app>(workflowIds.app("acme", "orphan")).query(appQuery);
      expect(state.history.map((entry) => entry.status)).toEqual(["lost", "live"]);
    });
  });

  it("begins again from the ledger and the host when its own history was lost", async () => {
    await withHost({}, async (_host, start) => {
      await (await start("phoenix", "1")).result();
      await client.workflow.getHandle(workflowIds.app("acme", "phoenix")).terminate("lost");
      const { version, previousVersion } = await (await start("phoenix", "2")).result();
      expect({ version, previousVersion }).toEqual({ version: 2, previousVersion: 1 });
    });
  });
});
