import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { urlOf } from "../support/app-url.ts";
import { exampleDir } from "../support/apps.ts";
import { slipway, startSlipway } from "../support/slipway.ts";
import { type TestStack, startTestStack } from "../support/stack.ts";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const readme = readFileSync(path.join(root, "README.md"), "utf8");

/** The command lines of the README's console blocks, without their comments, in their order. */
const shown = [...readme.matchAll(/```console\n(.*?)```/gs)].flatMap(([, block]) =>
  block!
    .split("\n")
    .filter((line) => line.startsWith("$ "))
    .map((line) => line.slice(2).replace(/\s+#.*$/, "")),
);
const slipwayCommands = shown.flatMap((line) => line.split(" && ")).filter((line) => line.startsWith("npx slipway "));
const untilInterrupted = new Set(["npx slipway proxy builder"]);

let stack: TestStack;

beforeAll(async () => {
  stack = await startTestStack();
});

afterAll(async () => {
  await stack?.stop();
});

describe("the README", () => {
  it("begins with the two commands of a newcomer", () => {
    expect(shown.slice(0, 2)).toEqual(["npm ci && npx slipway demo", "npm test"]);
  });

  // the last command takes the stack down: it is stopped, and looked at, at the end
  it.each(slipwayCommands.filter((line) => line !== "npx slipway down"))("%s", { timeout: 600_000 }, async (line) => {
    const running = startSlipway(stack.dataDir, line.split(" ").slice(2), { cwd: root });
    if (untilInterrupted.has(line)) {
      await expect.poll(() => running.stderr(), { timeout: 60_000 }).toContain("until Ctrl-C");
      running.kill("SIGINT");
    }
    const { code, stderr } = await running.finished;
    expect(code, stderr).toBe(0);
  });
});

describe("the examples", () => {
  it.each([
    ["static", "It floats."],
    ["node-web", "Hello from Node"],
    // the third compiles for a minute: test/long/examples.test.ts
  ])("%s deploys and answers", { timeout: 600_000 }, async (name, answer) => {
    await using source = await exampleDir(name);
    const { code, stderr } = await slipway(stack.dataDir, ["deploy", source.dir]);
    expect(code, stderr).toBe(0);
    expect(await (await fetch(await urlOf(stack, name))).text()).toContain(answer);
  });
});

it("npx slipway down leaves the machine as it was", async () => {
  const { code, stderr } = await slipway(stack.dataDir, ["down"], { cwd: root });
  expect(code, stderr).toBe(0);
  await expect(fetch(stack.settings.registry.url)).rejects.toThrow();
});
