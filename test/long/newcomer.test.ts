import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { makeOwnedDir, removeOwnedDir } from "../support/owned-dir.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const demoResult = z.strictObject({
  url: z.url(),
  ui: z.url(),
  run: z.string().startsWith("deploy/"),
  steps: z.array(z.strictObject({ name: z.string(), ms: z.number() })).min(1),
});

let dir = "";
let clone = "";
/** as in `slipway-t-…/data`: what a killed run leaves is taken down by the next */
let dataDir = "";

beforeAll(async () => {
  dir = await makeOwnedDir();
  clone = path.join(dir, "clone");
  dataDir = path.join(dir, "data");
  const cloned = await shell(`git clone --quiet "${root}" "${clone}"`, dir);
  expect(cloned.code, cloned.stderr).toBe(0);
});
afterAll(async () => {
  try {
    if (existsSync(dataDir)) await shell("npx --no slipway down --purge", clone);
  } finally {
    await removeOwnedDir(dir);
  }
});

test("in a fresh clone, npm ci && npx slipway demo ends with a URL that answers", async () => {
  const { code, stdout, stderr } = await shell("npm ci && npx slipway demo", clone);
  expect(code, stderr).toBe(0);
  const [, url] = /^url: (\S+)$/m.exec(stdout) ?? [];
  expect(await (await fetch(url!)).text()).toContain("It floats.");
  expect(stdout).toMatch(/^ui: {2}http\S+$/m);
  // npm ci did
  expect(stderr).not.toContain("--> generating");
});

test("npx slipway demo once more changes nothing, and says in JSON where everything is", async () => {
  const demo = async () => {
    const { code, stdout, stderr } = await shell("npx slipway demo -o json", clone);
    expect(code, stderr).toBe(0);
    return { result: demoResult.parse(JSON.parse(stdout)), stderr };
  };
  const first = await demo();
  expect(first.stderr).toMatch(/v1 is deployed already and answers$/m);
  const second = await demo();
  expect(second.result).toMatchObject({ url: first.result.url, ui: first.result.ui, run: first.result.run });
  expect(await (await fetch(second.result.url)).text()).toContain("It floats.");
});

test("npx slipway doctor finds gRPC types that are missing, or of other pins after a pull", async () => {
  const typesCheck = async () => (await shell("npx slipway doctor", clone)).stdout.split("\n").filter((line) => /gRPC|generate/.test(line));
  expect(await typesCheck()).toEqual(["ok    gRPC types: of the versions that tools/go.mod pins"]);
  await shell("printf stale > proto/gen/stamp", clone);
  expect((await typesCheck()).join("\n")).toMatch(
    /^FAIL {2}gRPC types: those in ".*" are of other versions .*\n {6}Try: npm run generate$/,
  );
  await rm(path.join(clone, "proto", "gen"), { recursive: true });
  expect((await typesCheck()).join("\n")).toMatch(/^FAIL {2}gRPC types: found none in ".*"\n {6}Try: npm run generate$/);
});

test("npx slipway down --purge generates the types that are missing, stops everything and removes the data", async () => {
  const settings = z.object({ runDir: z.string() }).parse(JSON.parse(await readFile(path.join(dataDir, "settings.json"), "utf8")));
  const { code, stdout, stderr } = await shell("npx slipway down --purge", clone);
  expect(code, stderr).toBe(0);
  expect(stderr).toMatch(/^--> generating the gRPC types/m);
  expect(stdout).toBe("down\n");
  expect([existsSync(dataDir), existsSync(settings.runDir)]).toEqual([false, false]);
});

/** what npm and vitest put into the environment, but for npm's settings and the CA bundle */
const ofThisProcess = /^(npm_(?!config_)|NODE_(?!EXTRA_CA_CERTS)|VITEST|CI$|INIT_CWD$)/;

type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** As a newcomer's shell runs it; npm asks its cache first. */
async function shell(line: string, cwd: string): Promise<Ended> {
  const env: NodeJS.ProcessEnv = { SLIPWAY_DATA: dataDir, npm_config_prefer_offline: "true", npm_config_audit: "false" };
  for (const [name, value] of Object.entries(process.env)) {
    if (!ofThisProcess.test(name)) env[name] ??= value;
  }
  env.PATH = (process.env.PATH ?? "")
    .split(":")
    .filter((entry) => !entry.includes("node_modules"))
    .join(":");
  const child = spawn("sh", ["-c", line], { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}
