/** `npm test`: every check and every test; goes on after a failure, says last what failed, and ends with the line `N passed, N failed`. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { compiledDir } from "../../tools/cache.ts";
import { type LaneResult, failedFiles, withSecondRun } from "./second-run.ts";
import { type Lane, runLane } from "./vitest-lane.ts";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const bin = path.join(root, "node_modules", ".bin");
const env = { NODE_COMPILE_CACHE: compiledDir(), ...process.env, PATH: `${bin}:${process.env.PATH}` };
/** They run beside each other: most of the time of a test goes into waiting for daemons. */
const lanes: readonly Lane[] = [
  { projects: ["integration", ...(process.argv.includes("--long") ? ["long"] : [])] },
  { projects: ["registry", "containerd-1.7"] },
  { projects: ["mirror", "stack", "builder", "unit"] },
];

const checks: readonly (readonly [string, ...string[]])[] = [
  ["node", "tools/grpc-types/main.ts"],
  ["oxfmt", "--check"],
  ["oxlint", "--type-aware"],
  ["tsc", "-p", "."],
  ["tsc", "-p", "tsconfig.build.json", "--noEmit"],
];

const dir = mkdtempSync(path.join(tmpdir(), "slipway-results-"));
try {
  const failedChecks = checks.filter((argv) => !check(argv)).map((argv) => argv.join(" "));
  const results = await runAgainAlone(await runSideBySide());
  const passed = results.flatMap(({ files }) => files).reduce((total, file) => total + file.passed, 0);
  const failures = [
    ...failedChecks,
    ...results.flatMap(({ files, besideFiles }) => [...besideFiles, ...files.flatMap((file) => file.failures)]),
  ];
  for (const text of results.flatMap(({ unstable }) => unstable)) console.log(`UNSTABLE (failed beside others, passed alone) ${text}`);
  for (const failure of failures) console.log(`FAILED ${failure}`);
  console.log(`${passed} passed, ${failures.length} failed`);
  process.exitCode = failures.length > 0 ? 1 : 0;
} finally {
  rmSync(dir, { recursive: true, force: true });
}

function check([command, ...args]: readonly [string, ...string[]]): boolean {
  console.log(`\n> ${command} ${args.join(" ")}`);
  return spawnSync(path.join(bin, command), args, { cwd: root, stdio: "inherit", env }).status === 0;
}

/** The first lane is seen while it runs, the others at their end. */
async function runSideBySide(): Promise<readonly LaneResult[]> {
  return await Promise.all(
    lanes.map(async (lane, at) => {
      const outcome = await runLane(lane, { root, env, dir, isShown: at === 0 });
      if (at > 0) console.log(outcome.output);
      return { ...outcome, lane, unstable: [] };
    }),
  );
}

async function runAgainAlone(results: readonly LaneResult[]): Promise<readonly LaneResult[]> {
  const again = failedFiles(results);
  const merged: LaneResult[] = [];
  for (const result of results) {
    const files = again.get(result.lane);
    const second = files === undefined ? undefined : await runLane({ ...result.lane, files }, { root, env, dir, isShown: true });
    merged.push(second === undefined ? result : withSecondRun(result, second));
  }
  return merged;
}
