/** `npm test`: every check and every test; goes on after a failure, and ends with the line `N passed, N failed`. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const bin = path.join(root, "node_modules", ".bin");
const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
/** Each line is one run of vitest, beside the others: most of the time of a test goes into waiting for daemons. */
const runs: readonly (readonly string[])[] = [
  ["unit", "integration", ...(process.argv.includes("--long") ? ["long"] : [])],
  ["registry", "mirror", "containerd-1.7"],
];

const checks: readonly (readonly [string, ...string[]])[] = [
  ["node", "tools/grpc-types/main.ts"],
  ["oxfmt", "--check"],
  ["oxlint", "--type-aware"],
  ["tsc", "-p", "."],
  ["tsc", "-p", "tsconfig.build.json", "--noEmit"],
];

type Count = { readonly passed: number; readonly failed: number };

const failedChecks = checks.filter((argv) => !check(argv)).length;
const counts = await runTests();
const passed = sum(counts.map((count) => count.passed));
const failed = failedChecks + sum(counts.map((count) => count.failed));
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

function check([command, ...args]: readonly [string, ...string[]]): boolean {
  console.log(`\n> ${command} ${args.join(" ")}`);
  return spawnSync(path.join(bin, command), args, { cwd: root, stdio: "inherit", env }).status === 0;
}

/** The first run is seen while it goes on, the others at their end. */
async function runTests(): Promise<readonly Count[]> {
  const dir = mkdtempSync(path.join(tmpdir(), "slipway-results-"));
  try {
    return await Promise.all(
      runs.map(async (projects, at) => {
        const output = at === 0 ? undefined : path.join(dir, `${at}.log`);
        const count = await runVitest(projects, { report: path.join(dir, `${at}.json`), output });
        if (output !== undefined) console.log(readFileSync(output, "utf8"));
        return count;
      }),
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** A run that fails without a failed test (a set-up that fails, an unhandled rejection) counts as one failure. */
async function runVitest(projects: readonly string[], { report, output }: { report: string; output: string | undefined }): Promise<Count> {
  const selected = projects.flatMap((name) => ["--project", name]);
  const argv = ["run", ...selected, "--reporter=default", "--reporter=json", `--outputFile=${report}`];
  console.log(`\n> vitest ${argv.join(" ")}`);
  const to = output === undefined ? "inherit" : openSync(output, "w");
  const child = spawn(path.join(bin, "vitest"), argv, { cwd: root, stdio: ["ignore", to, to], env });
  const isOk = await new Promise<boolean>((resolve) => {
    child.once("error", () => resolve(false)).once("exit", (code) => resolve(code === 0));
  });
  const { numPassedTests, numFailedTests } = readReport(report);
  return { passed: numPassedTests, failed: isOk ? numFailedTests : Math.max(numFailedTests, 1) };
}

function readReport(file: string): { numPassedTests: number; numFailedTests: number } {
  try {
    return z.object({ numPassedTests: z.number(), numFailedTests: z.number() }).parse(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    return { numPassedTests: 0, numFailedTests: 0 };
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
