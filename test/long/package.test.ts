import { execFile } from "node:child_process";
import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "slipway-package-"));
  // machines run as other users, and pass through this folder
  await chmod(dir, 0o711);
  await run("npm", ["pack", "--pack-destination", dir], { cwd: root });
  const [archive] = (await readdir(dir)).filter((name) => name.endsWith(".tgz"));
  await writeFile(path.join(dir, "package.json"), JSON.stringify({ private: true }));
  await run("npm", ["install", "--no-audit", "--no-fund", `./${archive}`], { cwd: dir });
});
afterAll(async () => await rm(dir, { recursive: true, force: true }));

/** On whatever Node the machine has, not on the one of our dev dependencies. */
async function slipway(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = {
    ...process.env,
    PATH: (process.env.PATH ?? "")
      .split(":")
      .filter((entry) => !entry.includes("node_modules"))
      .join(":"),
  };
  return await new Promise((resolve) => {
    execFile(path.join(dir, "node_modules", ".bin", "slipway"), args, { env }, (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr }),
    );
  });
}

test("the packed command shows its help", async () => {
  const { code, stdout } = await slipway("--help");
  expect(code).toBe(0);
  expect(stdout).toContain("Usage: slipway");
});

test("the packed stack comes up, is found healthy, deploys the demo, and goes down again", async () => {
  const dataDir = path.join(dir, "data");
  process.env.SLIPWAY_DATA = dataDir;
  try {
    const started = await slipway("up");
    expect(started.code, started.stderr).toBe(0);
    expect((await slipway("doctor")).stdout).not.toContain("FAIL");
    const demo = await slipway("demo", "-o", "json");
    expect(demo.code, demo.stderr).toBe(0);
    const { url } = JSON.parse(demo.stdout) as { url: string };
    expect(await (await fetch(url)).text()).toContain("It floats.");
  } finally {
    expect(await slipway("down", "--purge")).toMatchObject({ code: 0 });
    delete process.env.SLIPWAY_DATA;
  }
});
