import { setTimeout as sleep } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { controlTaskQueue, orgNamespace } from "../../../config/paths.ts";
import { defaultPruneSettings } from "../../../config/prune-settings.ts";
import { type Containerd, openContainerd } from "../../../containerd/client.ts";
import { listImages } from "../../../containerd/images.ts";
import { pruneScheduleId } from "../../../workers/prune-schedule.ts";
import type { PruneHostInput, PrunePolicy, PruneReport } from "../../../workflows/prune-types.ts";
import { urlOf } from "../../support/app-url.ts";
import { type SourceDir, tinyApp } from "../../support/apps.ts";
import { eventually } from "../../support/eventually.ts";
import { probe } from "../../support/probe.ts";
import { type RunningCli, slipway, startSlipway } from "../../support/slipway.ts";
import { type TestStack, startTestStack } from "../../support/stack.ts";

type Deployed = { image: { ref: string; digest: string } };

/** Runs are listed within 2 s by a Temporal on this host. */
const strict: PrunePolicy = { keepReleases: 0, keepForMs: 2000, keepUnusedForMs: 2000, lowDiskBytes: 0 };

describe("the prune of a host", () => {
  let stack: TestStack;
  let connection: Connection;
  let client: Client;
  let containerd: Containerd;
  let source: SourceDir;

  beforeAll(async () => {
    // the disk is short from the beginning, as far as this host can know
    const prune = { lowDiskBytes: Number.MAX_SAFE_INTEGER };
    stack = await startTestStack((settings) => ({ ...settings, prune }));
    const bases = await slipway(stack.dataDir, ["image", "bases", "busybox"]);
    expect(bases.code, bases.stderr).toBe(0);
    connection = await Connection.connect({ address: stack.settings.temporal.address });
    client = new Client({ connection });
    containerd = openContainerd(stack.settings.containerd.socket);
    source = await tinyApp("web", "v1", { Dockerfile: slowToServe, delay: "0" });
  });
  afterAll(async () => {
    await source?.[Symbol.asyncDispose]();
    await containerd?.[Symbol.asyncDispose]();
    await connection?.close();
    await stack?.stop();
  });

  async function prune(pass: number): Promise<PruneReport> {
    const { hostId } = stack.settings;
    return client.workflow.execute<(input: PruneHostInput) => Promise<PruneReport>>("pruneHost", {
      taskQueue: controlTaskQueue,
      workflowId: `test/prune/${pass}`,
      args: [{ host: hostId, dryRun: false, policy: strict }],
    });
  }

  /** Answers the image once the run is live. */
  async function startDeploy(text: string, delayS: number): Promise<RunningCli & { readonly image: Promise<string> }> {
    await source.write("index.html", text);
    await source.write("delay", String(delayS));
    const run = startSlipway(stack.dataDir, ["deploy", source.dir, "-o", "json"]);
    const image = run.finished.then(({ code, stdout, stderr }) => {
      expect(code, stderr).toBe(0);
      return (JSON.parse(stdout) as Deployed).image.ref;
    });
    return { ...run, image };
  }

  const imagesThere = async () => {
    const records = await listImages(containerd.namespace(orgNamespace(stack.settings.defaultOrg)), [], AbortSignal.timeout(10_000));
    return records.flatMap(({ name }) => (name.includes("/web:") ? [name] : []));
  };

  it("every 200 ms beside deploys fails none of them, and takes the images of releases that are no way back any more", async () => {
    await (
      await startDeploy("v1", 0)
    ).image;
    await using requests = probe(await urlOf(stack, "web"));
    let isOver = false;
    let passes = 0;
    const pruning = (async () => {
      for (; !isOver; passes += 1) {
        await prune(passes);
        await sleep(200);
      }
    })();
    const before = await startDeploy("v2", 7);
    await eventually(() => expect(before.stderr()).toContain("Rolling out"));
    // its image waits for its turn for longer than what is recent is left alone
    const last = await startDeploy("v3", 0);
    const images = await Promise.all([before.image, last.image]).finally(() => (isOver = true));
    await pruning;
    expect(passes).toBeGreaterThan(3);
    expect((await requests.stop()).failures).toEqual([]);
    // the machine of the release before goes after the deploy's end
    await eventually(async () => {
      await prune((passes += 1));
      expect(await imagesThere()).toEqual(images.slice(1));
    });
    expect(await (await fetch(await urlOf(stack, "web"))).text()).toBe("v3");
  });

  it("is scheduled as the settings say", async () => {
    const { hostId } = stack.settings;
    const { spec, policies, action } = await client.schedule.getHandle(pruneScheduleId(hostId)).describe();
    expect(spec.intervals).toMatchObject([{ every: defaultPruneSettings.everyMs }]);
    expect(policies.overlap).toBe("SKIP");
    const { everyMs: _everyMs, ...times } = defaultPruneSettings;
    const policy = { ...times, lowDiskBytes: Number.MAX_SAFE_INTEGER };
    expect(action).toMatchObject({ workflowType: "pruneHost", args: [{ host: hostId, dryRun: false, policy }] });
  });

  it("was begun by the host itself, long before its time, as the disk is short", async () => {
    await eventually(async () => {
      const { info } = await client.schedule.getHandle(pruneScheduleId(stack.settings.hostId)).describe();
      expect(info.recentActions).not.toEqual([]);
    }, 60_000);
  });

  it("is done by `slipway image prune`, which tells what stays and why", async () => {
    const before = await imagesThere();
    const dry = await slipway(stack.dataDir, ["image", "prune", "--dry-run", "--keep", "0", "-o", "json"]);
    expect(dry.code, dry.stderr).toBe(0);
    expect(JSON.parse(dry.stdout)).toMatchObject({
      schema_version: 1,
      host: stack.settings.hostId,
      dry_run: true,
      low_disk: true,
      removed: 0,
    });
    const done = await slipway(stack.dataDir, ["image", "prune"]);
    expect(done.code, done.stderr).toBe(0);
    expect(done.stdout).toMatch(/^kept +\S+\/web:run-\S+ +machine$/m);
    expect(await imagesThere()).toEqual(before);
    const elsewhere = await slipway(stack.dataDir, ["image", "prune", "--host", "elsewhere"]);
    expect(elsewhere.code, elsewhere.stderr).toBe(2);
    expect(elsewhere.stderr).toContain(`slipway image prune --host ${stack.settings.hostId}`);
  });
});

const slowToServe = [
  "FROM busybox AS tools",
  "FROM scratch",
  "COPY --from=tools /bin /bin",
  "COPY index.html delay /www/",
  'ENTRYPOINT ["/bin/sh", "-c", "sleep $(cat /www/delay); exec /bin/busybox httpd -f -p 8080 -h /www"]',
  "",
].join("\n");
