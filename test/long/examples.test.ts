import { afterAll, beforeAll, expect, it } from "vitest";
import { urlOf } from "../support/app-url.ts";
import { exampleDir } from "../support/apps.ts";
import { slipway } from "../support/slipway.ts";
import { type TestStack, startTestStack } from "../support/stack.ts";

let stack: TestStack;
beforeAll(async () => {
  stack = await startTestStack();
  const bases = await slipway(stack.dataDir, ["image", "bases", "golang", "debian"]);
  expect(bases.code, bases.stderr).toBe(0);
});
afterAll(async () => {
  await stack?.stop();
});

it("the example go-web is compiled, deploys and answers", { timeout: 600_000 }, async () => {
  await using source = await exampleDir("go-web");
  const { code, stderr } = await slipway(stack.dataDir, ["deploy", source.dir]);
  expect(code, stderr).toBe(0);
  expect(await (await fetch(await urlOf(stack, "go-web"))).text()).toContain("Hello from go");
});
