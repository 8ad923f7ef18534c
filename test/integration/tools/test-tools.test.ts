import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { expect, inject, test } from "vitest";
import { goModuleVersion, readPins } from "../../../tools/cache.ts";

const run = promisify(execFile);
const bin = (name: string) => path.join(inject("toolsBinDir"), name);

test.each([
  { client: "crane", args: ["version"], module: "github.com/google/go-containerregistry" },
  { client: "regctl", args: ["version"], module: "github.com/regclient/regclient" },
  { client: "server", args: ["--version"], module: "github.com/Shopify/toxiproxy/v2" },
])("$client that tests run is of the version that go.mod pins", async ({ client, args, module }) => {
  const { stdout } = await run(bin(client), args);
  expect(stdout).toContain(goModuleVersion(readPins().goMod, module).slice(1));
});

test("skopeo and the conformance suite are there for tests", async () => {
  await access(bin("conformance"), constants.X_OK);
  expect((await run("skopeo", ["--version"])).stdout).toMatch(/^skopeo version \d/);
});
