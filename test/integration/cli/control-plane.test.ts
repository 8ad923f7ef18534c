import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { connectControlPlane, type ControlPlane } from "../../../cli/control-plane/connect.ts";
import { findRun, keyOf, listRuns } from "../../../cli/control-plane/find-run.ts";
import { startDeploy } from "../../../cli/control-plane/start-deploy.ts";
import { fingerprintOf } from "../../../cli/deploy/fingerprint.ts";
import { openRun } from "../../../cli/follow/run-handle.ts";
import { parseAppConfig } from "../../../config/app-config.ts";
import { instancePaths } from "../../../config/paths.ts";
import type { Settings } from "../../../config/settings.ts";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { defaultSettings } from "../../../stack/default-settings.ts";
import type { DeployInput } from "../../../workflows/types.ts";
import { slipway } from "../../support/slipway.ts";
import { tinyApp } from "../../support/apps.ts";

const { config } = parseAppConfig('app = "web"', "slipway.toml");
const org = `cli-${randomUUID().slice(0, 8)}`;
let dataDir: string;
let settings: Settings;
let controlPlane: ControlPlane;

beforeAll(async () => {
  dataDir = await mkdtemp(path.join(tmpdir(), "slipway-cli-test-"));
  const ports = { temporal: 1, temporalUi: 1, registry: 1, metrics: 9, s3: 1, logs: 1, router: 1, builderGate: 1 };
  const base = defaultSettings({
    dataDir,
    runDir: dataDir,
    hostId: "one",
    tools: { binDir: dataDir, shareDir: dataDir },
    ports,
    s3Keys: { accessKeyId: "a", secretAccessKey: "b" },
    ipv4Pool: "10.64.0.0/16",
  });
  settings = { ...base, temporal: { ...base.temporal, address: inject("temporalAddress") } };
  controlPlane = await connectControlPlane(settings);
});

afterAll(async () => {
  for await (const { workflowId, status } of listRuns(controlPlane, { org }))
    if (status.name === "RUNNING") await controlPlane.client.workflow.getHandle(workflowId).terminate("end of test");
  await controlPlane[Symbol.asyncDispose]();
  await rm(dataDir, { recursive: true, force: true });
});

function inputFor(key: string, source: string): DeployInput {
  const digest = digestOf(source);
  return { org, app: "web", key, source: { repository: parseRepository(`${org}/web`), digest, sizeBytes: 1 }, config, noCache: false };
}
const start = (key: string, source: string, fresh = false) =>
  startDeploy(controlPlane, inputFor(key, source), fingerprintOf(digestOf(source), config), fresh);

describe("startDeploy against a Temporal server", () => {
  test("a second start with the same key attaches to the first", async () => {
    expect(await start("same", "a")).toEqual({ workflowId: `deploy/${org}/web/same`, how: "started" });
    expect((await start("same", "a")).how).toBe("attached");
  });

  test("the same key with another source is refused with both values, and nothing is started", async () => {
    await start("taken", "a");
    const before = await controlPlane.client.workflow.getHandle(`deploy/${org}/web/taken`).describe();
    await expect(start("taken", "b")).rejects.toThrow(`this is ${digestOf("b")}, the key stands for ${digestOf("a")}`);
    expect((await controlPlane.client.workflow.getHandle(`deploy/${org}/web/taken`).describe()).runId).toBe(before.runId);
  });

  test("two starts at the same moment make one run", async () => {
    const both = await Promise.all([start("race", "a"), start("race", "a")]);
    expect(new Set(both.map(({ workflowId }) => workflowId)).size).toBe(1);
  });

  test("a run that was terminated may be tried again under its key, and says that it was cancelled", async () => {
    await start("again", "a");
    const run = openRun(controlPlane, `deploy/${org}/web/again`);
    await run.terminate("test");
    expect(await run.outcome(new AbortController().signal, () => {})).toMatchObject({ kind: "failed", code: "CANCELLED" });
    expect((await start("again", "a")).how).toBe("started");
  });

  test("a run can be read in Temporal: summary, memo, search attributes", async () => {
    await start("readable", "a");
    const run = await controlPlane.client.workflow.getHandle(`deploy/${org}/web/readable`).describe();
    expect(run.memo).toMatchObject({ sourceDigest: digestOf("a") });
    expect(run.typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value])).toEqual(
      expect.arrayContaining([
        ["SlipwayOrg", org],
        ["SlipwayApp", "web"],
      ]),
    );
    expect(await run.staticSummary()).toBe("Deploy web");
  });
});

test("a run is found by id, by key, by a unique beginning of its key, and is the newest by default", async () => {
  await start("find-one", "a");
  await start("find-two", "a");
  const filter = { org, app: "web" };
  await expect.poll(async () => keyOf(await findRun(controlPlane, filter, undefined))).toBe("find-two");
  expect(await findRun(controlPlane, filter, `deploy/${org}/web/x`)).toBe(`deploy/${org}/web/x`);
  expect(keyOf(await findRun(controlPlane, filter, "find-one"))).toBe("find-one");
  expect(keyOf(await findRun(controlPlane, filter, "find-t"))).toBe("find-two");
  await expect(findRun(controlPlane, filter, "find-")).rejects.toThrow(
    /Cannot tell which run "find-" is: find-(two, find-one|one, find-two)/,
  );
  await expect(findRun(controlPlane, filter, "absent")).rejects.toThrow('Cannot find run "absent" of app "web"');
});

describe("the command", () => {
  test("ends with 10 when Temporal cannot be reached, and says what to do", async () => {
    const file = instancePaths.settings(dataDir);
    await writeFile(file, JSON.stringify({ ...settings, temporal: { ...settings.temporal, address: "127.0.0.1:1" } }));
    await using app = await tinyApp("web", "hello");
    const { code, stdout, stderr } = await slipway(dataDir, ["deploy", app.dir]);
    expect({ code, stdout }).toEqual({ code: 10, stdout: "" });
    expect(stderr).toContain('Error: Cannot reach Temporal at "127.0.0.1:1"; nothing was started');
    expect(stderr).toContain("Try: slipway up");
  });

  test("ends with 2 for a wrong slipway.toml, naming file, line, key, expected and found", async () => {
    await using app = await tinyApp("web", "hello", { "slipway.toml": 'app = "web"\n[http_service]\ninternal_port = "x"\n' });
    const { code, stdout, stderr } = await slipway(dataDir, ["deploy", ".", "-o", "json"], { cwd: app.dir });
    expect(code).toBe(2);
    expect(stderr).toContain('slipway.toml:3: http_service.internal_port: expected a port from 1 to 65535, found "x"');
    expect(JSON.parse(stdout)).toMatchObject({ schema_version: 1, status: "failed", error: { code: "USAGE" } });
  });

  test("lists runs as JSON", async () => {
    await writeFile(instancePaths.settings(dataDir), JSON.stringify(settings));
    await start("listed", "a");
    await expect
      .poll(
        async () => {
          const { stdout } = await slipway(dataDir, ["runs", "list", "--org", org, "-o", "json", "-n", "50"], { cwd: dataDir });
          return (JSON.parse(stdout) as { runs: { key: string }[] }).runs.map(({ key }) => key);
        },
        { timeout: 20_000 },
      )
      .toContain("listed");
  });
});
