import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import type { Settings } from "../../../config/settings.ts";
import { openTemporal } from "../../../stack/temporal/connect.ts";
import { ensureSearchAttributes, requireSearchAttributes, SearchAttributesError } from "../../../stack/temporal/search-attributes.ts";
import { up } from "../../../stack/up.ts";
import { tinyApp } from "../../support/apps.ts";
import { makeOwnedDir, removeOwnedDir } from "../../support/owned-dir.ts";
import { slipway } from "../../support/slipway.ts";
import { startTestStack } from "../../support/stack.ts";

const run = promisify(execFile);
const signal = AbortSignal.timeout(600_000);
const address = inject("temporalAddress");
const names = ["SlipwayOrg", "SlipwayApp", "SlipwayStage", "SlipwayDigest"];

const temporalSettings = (namespace: string): Settings["temporal"] => ({ address, namespace, uiUrl: "http://127.0.0.1:8233" });

/** Runs a line of the `temporal` CLI as an operator would. */
async function operator(line: string): Promise<void> {
  await run("sh", ["-c", line], { env: { ...process.env, PATH: `${inject("toolsBinDir")}:${process.env.PATH}` } });
}

/** A namespace as an operator makes it: without search attributes of ours. */
async function newNamespace(): Promise<string> {
  const namespace = `named-${randomUUID()}`;
  await operator(`temporal operator namespace create --address ${address} --namespace ${namespace}`);
  return namespace;
}

const create = (namespace: string, name: string, type: string) =>
  operator(`temporal operator search-attribute create --address ${address} --namespace ${namespace} --name ${name} --type ${type}`);

describe("a namespace of another's Temporal", () => {
  it("that lacks search attributes is described with the command that creates exactly those", async () => {
    const namespace = await newNamespace();
    await create(namespace, "SlipwayApp", "Keyword");
    await using temporal = await openTemporal({ temporal: temporalSettings(namespace) });
    const error = await requireSearchAttributes(temporal, signal).then(expect.unreachable, (fault: unknown) => fault);
    expect(error).toBeInstanceOf(SearchAttributesError);
    const { message, command } = error as SearchAttributesError;
    expect(message).toBe(
      `Cannot find the search attributes SlipwayOrg, SlipwayStage, SlipwayDigest in namespace "${namespace}"; run: ${command}`,
    );
    await operator(command);
    expect(await requireSearchAttributes(temporal, signal)).toBe(`${names.join(", ")} in namespace "${namespace}"`);
  });

  it("is given the search attributes that it lacks, once", async () => {
    await using temporal = await openTemporal({ temporal: temporalSettings(await newNamespace()) });
    expect(await ensureSearchAttributes(temporal, signal)).toEqual(names);
    expect(await ensureSearchAttributes(temporal, signal)).toEqual([]);
    await requireSearchAttributes(temporal, signal);
  });

  it("that takes no more Keywords is refused with what Temporal says and the same command", async () => {
    const namespace = await newNamespace();
    for (let index = 0; index < 8; index++) await create(namespace, `Own${index}`, "Keyword");
    await using temporal = await openTemporal({ temporal: temporalSettings(namespace) });
    await expect(ensureSearchAttributes(temporal, signal)).rejects.toThrow(
      new RegExp(
        `^Cannot create the search attributes ${names.join(", ")} in namespace "${namespace}" of Temporal at "${address}": .+; run: temporal operator`,
      ),
    );
  });
});

describe("up with another's Temporal", () => {
  let dir = "";
  beforeEach(async () => {
    dir = await makeOwnedDir();
    await mkdir(path.join(dir, "data"));
  });
  afterEach(() => removeOwnedDir(dir));

  const upWith = async (temporal: Settings["temporal"]) =>
    await up(
      { dataDir: path.join(dir, "data"), runDir: path.join(dir, "run"), ports: "any", amend: (settings) => ({ ...settings, temporal }) },
      () => undefined,
      signal,
    );

  it.each([
    [
      "a search attribute of another type",
      "Int",
      /found SlipwayOrg of type Int, expected Keyword; run: temporal operator search-attribute remove .*--name SlipwayOrg$/,
    ],
  ])("is refused with %s, and nothing is left running", async (_, type, message) => {
    const namespace = await newNamespace();
    await create(namespace, "SlipwayOrg", type);
    await expect(upWith(temporalSettings(namespace))).rejects.toThrow(message);
    expect(existsSync(path.join(dir, "data", "settings.json"))).toBe(false);
    expect(existsSync(path.join(dir, "run"))).toBe(false);
  });

  it("is refused when the namespace is not there, or nothing answers", async () => {
    await expect(upWith(temporalSettings("nowhere"))).rejects.toThrow(
      `Cannot find namespace "nowhere" in Temporal at "${address}"; run: temporal operator namespace create --address ${address} --namespace nowhere`,
    );
    await expect(upWith({ ...temporalSettings("default"), address: "127.0.0.1:1" })).rejects.toThrow(
      'Cannot use Temporal at "127.0.0.1:1": it does not answer',
    );
  });
});

it("a stack on another's Temporal creates the search attributes, is found healthy, and deploys", async () => {
  const namespace = await newNamespace();
  await using stack = await startTestStack((settings) => ({ ...settings, temporal: temporalSettings(namespace) }));
  const doctor = await slipway(stack.dataDir, ["doctor"]);
  expect(doctor.stdout).toContain(`ok    Temporal search attributes: ${names.join(", ")} in namespace "${namespace}"`);
  expect(doctor.stdout).not.toContain("FAIL");

  await using source = await tinyApp("web", "elsewhere");
  expect(await slipway(stack.dataDir, ["image", "bases", "busybox"])).toMatchObject({ code: 0 });
  const deployed = await slipway(stack.dataDir, ["deploy", source.dir, "-o", "json"]);
  expect(deployed.code, deployed.stderr).toBe(0);
  const { url } = JSON.parse(deployed.stdout) as { url: string };
  expect(await (await fetch(url)).text()).toContain("elsewhere");

  await operator(`temporal operator search-attribute remove --yes --address ${address} --namespace ${namespace} --name SlipwayStage`);
  const broken = await slipway(stack.dataDir, ["doctor"]);
  expect(broken.code).toBe(1);
  expect(broken.stdout).toContain(
    `      Try: temporal operator search-attribute create --address ${address} --namespace ${namespace} --name SlipwayStage --type Keyword\n`,
  );
});
