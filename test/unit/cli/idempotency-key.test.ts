import { describe, expect, test } from "vitest";
import { canonicalJson, fingerprintOf } from "../../../cli/deploy/fingerprint.ts";
import { chooseKey } from "../../../cli/deploy/idempotency-key.ts";
import { applyOptions } from "../../../cli/deploy/project.ts";
import { parseAppConfig } from "../../../config/app-config.ts";
import { digestOf } from "../../../oci/digest.ts";

const now = new Date("2026-11-24T15:00:00Z");
const github = { CI: "true", GITHUB_RUN_ID: "77", GITHUB_REPOSITORY: "o/r", GITHUB_JOB: "deploy", GITHUB_RUN_ATTEMPT: "1" };

describe("chooseKey", () => {
  test("at a terminal each deploy is a run of its own", () => {
    const first = chooseKey(undefined, "web", {}, now);
    expect(first).toMatchObject({ fresh: true, key: expect.stringMatching(/^20261124t150000-[0-9a-f]{6}$/) });
    expect(chooseKey(undefined, "web", {}, now).key).not.toBe(first.key);
  });

  test("in CI the key names the job and not its attempt", () => {
    const first = chooseKey(undefined, "web", github, now);
    expect(first).toMatchObject({ fresh: false, key: expect.stringMatching(/^github-[0-9a-f]{20}$/) });
    expect(chooseKey(undefined, "web", { ...github, GITHUB_RUN_ATTEMPT: "2" }, now)).toEqual(first);
  });

  test.each([
    ["another app", "api", github],
    ["another job", "web", { ...github, GITHUB_JOB: "other" }],
    ["another run", "web", { ...github, GITHUB_RUN_ID: "78" }],
  ])("%s has another key", (_what, app, environment) => {
    expect(chooseKey(undefined, app, environment, now).key).not.toBe(chooseKey(undefined, "web", github, now).key);
  });

  test("a CI that is not known gets a random key", () => {
    expect(chooseKey(undefined, "web", { CI: "1" }, now).fresh).toBe(true);
  });

  test("a given key is taken as it is, when it can be part of a workflow id", () => {
    expect(chooseKey("v1.2_3", "web", github, now)).toEqual({ key: "v1.2_3", fresh: false });
    expect(() => chooseKey("a/b", "web", {}, now)).toThrow('Cannot use idempotency key "a/b"');
  });
});

test("a fingerprint does not depend on the order of keys, and does on every value", () => {
  expect(canonicalJson({ b: [{ d: 1, c: 2 }], a: "x" })).toBe('{"a":"x","b":[{"c":2,"d":1}]}');
  const { config } = parseAppConfig('app = "web"', "slipway.toml");
  const source = digestOf("source");
  expect(fingerprintOf(source, config)).toEqual(fingerprintOf(source, { ...config }));
  expect(fingerprintOf(source, { ...config, env: { A: "1" } }).configDigest).not.toBe(fingerprintOf(source, config).configDigest);
});

test("what the command line says goes before what the file says", () => {
  const { config } = parseAppConfig('app = "web"\n[env]\nA = "1"\nB = "2"\n[build.args]\nX = "1"', "slipway.toml");
  const applied = applyOptions(config, {
    app: "api",
    env: ["B=3=4", "C="],
    dockerfile: "./d/Dockerfile",
    buildTarget: "run",
    buildArg: ["X=2"],
  });
  expect(applied).toMatchObject({
    app: "api",
    env: { A: "1", B: "3=4", C: "" },
    build: { dockerfile: "d/Dockerfile", target: "run", args: { X: "2" } },
  });
  expect(() => applyOptions(config, { env: ["B"] })).toThrow('Cannot read --env "B": expected NAME=VALUE');
  expect(() => applyOptions(config, { dockerfile: "../Dockerfile" })).toThrow("inside it");
  expect(() => applyOptions(config, { app: "Web" })).toThrow('Cannot use app name "Web"');
});
