import path from "node:path";
import { fileURLToPath } from "node:url";
import { TestWorkflowEnvironment } from "@temporalio/testing";
import { DefaultLogger, Runtime, Worker, bundleWorkflowCode } from "@temporalio/worker";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { searchAttributeNames, workflowIds } from "../../../workflows/ids.ts";
import type { replicateImage } from "../../../workflows/index.ts";
import { failing } from "../../support/scripted-host.ts";

const workflowsPath = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../../workflows/index.ts");

let env: TestWorkflowEnvironment;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger("ERROR") });
  const executable = { type: "existing-path", path: path.join(inject("toolsBinDir"), "temporal-test-server") } as const;
  env = await TestWorkflowEnvironment.createTimeSkipping({ server: { executable } });
  const searchAttributes = Object.fromEntries(Object.values(searchAttributeNames).map((name) => [name, 2]));
  await env.connection.operatorService.addSearchAttributes({ namespace: "default", searchAttributes });
});

afterAll(() => env?.teardown());

it("replicateImage tries for a day while upstream is down, keeps the pin until then, and says how often it tried", async () => {
  const startedAt = await env.currentTimeMs();
  const calls = { pinImage: 0, pushUpstream: 0, unpinImage: 0 };
  const activities = {
    pinImage: async () => void calls.pinImage++,
    unpinImage: async () => void calls.unpinImage++,
    pushUpstream: async () => {
      calls.pushUpstream++;
      if ((await env.currentTimeMs()) - startedAt < 24 * 3600_000) throw failing("UpstreamDown", false);
      expect(calls.unpinImage).toBe(0);
      return { sentBytes: 1, skippedBytes: 0 };
    },
  };
  const workflowBundle = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger("ERROR") });
  const control = await Worker.create({ connection: env.nativeConnection, taskQueue: "control", workflowBundle });
  const host = await Worker.create({ connection: env.nativeConnection, taskQueue: "host:test", activities });
  const repository = parseRepository("acme/durable");
  const digest = digestOf("durable");
  const view = await control.runUntil(
    host.runUntil(() =>
      env.client.workflow.execute<typeof replicateImage>("replicateImage", {
        taskQueue: "control",
        workflowId: workflowIds.replicateImage(repository, digest),
        args: [{ org: "acme", host: "test", repository, digest, tag: "t" }],
      }),
    ),
  );
  expect(view).toMatchObject({ status: "durable", sentBytes: 1 });
  expect(view.attempts).toBeGreaterThan(500);
  expect(view.attempts).toBe(calls.pushUpstream);
  expect(calls.unpinImage).toBe(1);
});
