import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkRequirements, requireGo } from "../../../tools/requirements.ts";

const signal = new AbortController().signal;
const pathBefore = process.env.PATH;
let bin = "";

beforeEach(async () => {
  bin = await mkdtemp(path.join(tmpdir(), "requirements-"));
  process.env.PATH = bin;
});
afterEach(async () => {
  process.env.PATH = pathBefore;
  await rm(bin, { recursive: true, force: true });
});

async function install(command: string, script: string): Promise<void> {
  const file = path.join(bin, command);
  await writeFile(file, `#!/bin/sh\n${script}\n`);
  await chmod(file, 0o755);
}

describe("Go", () => {
  it.each(["go1.26.8", "go1.21.0", "go1.27rc1", "devel go1.27-abcdef"])("of release %s will do", async (release) => {
    await install("go", `echo "${release}"`);
    expect(await requireGo(signal)).toBe(release.replace(/^go/, ""));
  });

  it("is asked for its own release, not for the one that it would fetch", async () => {
    await install("go", 'echo "go1.26.0-$GOTOOLCHAIN"');
    expect(await requireGo(signal)).toBe("1.26.0-local");
  });

  it.each(["go1.19.8", "go1.20"])("of release %s is refused with what was found, what is expected and where to get it", async (release) => {
    await install("go", `echo ${release}`);
    await expect(requireGo(signal)).rejects.toThrow(
      `"go" is ${release.slice(2)}, expected 1.26 or newer; install Go 1.26 or newer: https://go.dev`,
    );
  });

  it("that is not there is called missing", async () => {
    await expect(requireGo(signal)).rejects.toThrow('"go" is missing; install Go 1.26 or newer: https://go.dev/doc/install');
  });
});

it("everything that is missing is named at once, under what could not be done", async () => {
  const refused = checkRequirements("Cannot install the tools", new Set(["go", "wheel"]), signal);
  await expect(refused).rejects.toThrow(
    /^Cannot install the tools:\n {2}"go" is missing; .*\n {2}"python3 -m pip" is missing; run: apt-get/,
  );
});

it("what is there is not named", async () => {
  await install("go", "echo go1.26.8");
  await install("python3", "echo pip 24");
  await expect(checkRequirements("Cannot", new Set(["go", "wheel"]), signal)).resolves.toBeUndefined();
});
