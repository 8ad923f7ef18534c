/** `npm test`: every check and every test; goes on after a failure, and ends with the line `N passed, N failed`. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const bin = path.join(root, "node_modules", ".bin");
const projects = ["unit", "integration", ...(process.argv.includes("--long") ? ["long"] : [])];

const checks: readonly (readonly [string, ...string[]])[] = [
  ["node", "tools/grpc-types/main.ts"],
  ["oxfmt", "--check"],
  ["oxlint", "--type-aware"],
  ["tsc", "-p", "."],
  ["tsc", "-p", "tsconfig.build.json", "--noEmit"],
];

const failedChecks = checks.filter((argv) => !run(argv)).length;
const tests = runTests();
console.log(`${tests.passed} passed, ${tests.failed + failedChecks} failed`);
process.exitCode = tests.failed + failedChecks > 0 ? 1 : 0;

function run([command, ...args]: readonly [string, ...string[]]): boolean {
  console.log(`\n> ${command} ${args.join(" ")}`);
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
  return spawnSync(path.join(bin, command), args, { cwd: root, stdio: "inherit", env }).status === 0;
}

/** A run that fails without a failed test (a set-up that fails, an unhandled rejection) counts as one failure. */
function runTests(): { passed: number; failed: number } {
  const dir = mkdtempSync(path.join(tmpdir(), "slipway-results-"));
  try {
    const report = path.join(dir, "report.json");
    const selected = projects.flatMap((name) => ["--project", name]);
    const ok = run(["vitest", "run", ...selected, "--reporter=default", "--reporter=json", `--outputFile=${report}`]);
    const { numPassedTests: passed, numFailedTests: failed } = readReport(report);
    return { passed, failed: ok ? failed : Math.max(failed, 1) };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function readReport(file: string): { numPassedTests: number; numFailedTests: number } {
  try {
    return z.object({ numPassedTests: z.number(), numFailedTests: z.number() }).parse(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    return { numPassedTests: 0, numFailedTests: 0 };
  }
}
