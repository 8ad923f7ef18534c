import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { DefaultLogger, Runtime, Worker, type WorkflowBundle, bundleWorkflowCode } from "@temporalio/worker";
import { beforeAll, describe, expect, it } from "vitest";
import { startTracing } from "../../../config/tracing/start-tracing.ts";
import { openOtlpCollector } from "../../support/otlp-collector.ts";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
const histories = path.join(root, "test", "histories");
const names = readdirSync(histories).filter((name) => name.endsWith(".json"));

let workflowBundle: WorkflowBundle;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger("ERROR") });
  workflowBundle = await bundleWorkflowCode({
    workflowsPath: path.join(root, "workflows", "index.ts"),
    logger: new DefaultLogger("ERROR"),
  });
});

describe("every recorded history replays on today's code", () => {
  it("there are histories of every end of a deploy, of an app, of a replication of the care for the registry and of a host", () => {
    expect(names).toEqual(
      expect.arrayContaining([
        "app-many-turns.json",
        "deploy-build-failed.json",
        "deploy-cancelled-in-build.json",
        "deploy-first-release.json",
        "deploy-next-release.json",
        "deploy-superseded.json",
        "deploy-unhealthy.json",
        "deploy-waited-for-its-turn.json",
        "deploy-workers-killed-in-build.json",
        "replicate-image-durable.json",
        "collect-garbage.json",
        "prune-host.json",
        "scrub-registry.json",
        "scrub-repository-damaged.json",
      ]),
    );
  });

  it.each(names)("%s", async (name) => {
    await Worker.runReplayHistory({ workflowBundle }, JSON.parse(readFileSync(path.join(histories, name), "utf8")), name);
  });

  it("and so it does when tracing is switched on over runs that began without it", async () => {
    const collector = await openOtlpCollector();
    process.env.OTEL_EXPORTER_OTLP_ENDPOINT = collector.endpoint;
    const tracing = await startTracing("slipway-control");
    try {
      const plugins = [...tracing.temporalPlugins];
      expect(plugins).toHaveLength(1);
      const workflowsPath = path.join(root, "workflows", "index.ts");
      const traced = await bundleWorkflowCode({ workflowsPath, plugins, logger: new DefaultLogger("ERROR") });
      for (const name of names) {
        const history: unknown = JSON.parse(readFileSync(path.join(histories, name), "utf8"));
        await Worker.runReplayHistory({ workflowBundle: traced, plugins }, history, name);
      }
    } finally {
      delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT;
      await tracing[Symbol.asyncDispose]();
      await collector[Symbol.asyncDispose]();
    }
  });

  it("and a history that does not fit is told", async () => {
    const history = JSON.parse(readFileSync(path.join(histories, "deploy-first-release.json"), "utf8")) as {
      events: { activityTaskScheduledEventAttributes?: { activityType: { name: string } } }[];
    };
    const scheduled = history.events.find((event) => event.activityTaskScheduledEventAttributes !== undefined)!;
    scheduled.activityTaskScheduledEventAttributes!.activityType.name = "somethingElse";
    await expect(Worker.runReplayHistory({ workflowBundle }, history, "changed")).rejects.toThrow();
  });
});
