/** `npm test`: every check and every test; goes on after a failure, says last what failed, and ends with the line `N passed, N failed`. */
import { spawn, spawnSync } from "node:child_process";
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { compiledDir } from "../../tools/cache.ts";
import { type Outcome, readReport, unhandledErrors } from "./read-report.ts";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const bin = path.join(root, "node_modules", ".bin");
const env = { NODE_COMPILE_CACHE: compiledDir(), ...process.env, PATH: `${bin}:${process.env.PATH}` };
/** Each line is one run of vitest, beside the others: most of the time of a test goes into waiting for daemons. */
const runs: readonly (readonly string[])[] = [
  ["integration", ...(process.argv.includes("--long") ? ["long"] : [])],
  ["registry", "containerd-1.7"],
  ["mirror", "stack", "builder", "unit"],
];

const checks: readonly (readonly [string, ...string[]])[] = [
  ["node", "tools/grpc-types/main.ts"],
  ["oxfmt", "--check"],
  ["oxlint", "--type-aware"],
  ["tsc", "-p", "."],
  ["tsc", "-p", "tsconfig.build.json", "--noEmit"],
];

const failedChecks = checks.filter((argv) => !check(argv)).map((argv) => argv.join(" "));
const outcomes = await runTests();
const passed = outcomes.reduce((total, outcome) => total + outcome.passed, 0);
const failures = [...failedChecks, ...outcomes.flatMap((outcome) => outcome.failures)];
for (const failure of failures) console.log(`FAILED ${failure}`);
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length > 0 ? 1 : 0;

function check([command, ...args]: readonly [string, ...string[]]): boolean {
  console.log(`\n> ${command} ${args.join(" ")}`);
  return spawnSync(path.join(bin, command), args, { cwd: root, stdio: "inherit", env }).status === 0;
}

/** The first run is seen while it goes on, the others at their end. */
async function runTests(): Promise<readonly Outcome[]> {
  const dir = mkdtempSync(path.join(tmpdir(), "slipway-results-"));
  try {
    return await Promise.all(
      runs.map(async (projects, at) => {
        const output = path.join(dir, `${at}.log`);
        const outcome = await runVitest(projects, { report: path.join(dir, `${at}.json`), output, isShown: at === 0 });
        if (at > 0) console.log(readFileSync(output, "utf8"));
        return outcome;
      }),
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** A run that fails without a failed test (a set-up that fails, an unhandled rejection) counts as one failure. */
async function runVitest(
  projects: readonly string[],
  { report, output, isShown }: { report: string; output: string; isShown: boolean },
): Promise<Outcome> {
  const selected = projects.flatMap((name) => ["--project", name]);
  const argv = ["run", ...selected, "--reporter=default", "--reporter=json", `--outputFile=${report}`];
  console.log(`\n> vitest ${argv.join(" ")}`);
  const child = spawn(path.join(bin, "vitest"), argv, { cwd: root, stdio: ["ignore", "pipe", "pipe"], env });
  const log = createWriteStream(output);
  for (const stream of [child.stdout, child.stderr]) {
    stream.pipe(log, { end: false });
    if (isShown) stream.pipe(process.stdout, { end: false });
  }
  const isOk = await new Promise<boolean>((resolve) => {
    child.once("error", () => resolve(false)).once("close", (code) => resolve(code === 0));
  });
  await new Promise<void>((resolve) => log.end(resolve));
  const outcome = readReport(report);
  if (isOk || outcome.failures.length > 0) return outcome;
  return {
    ...outcome,
    failures: [`vitest ${selected.join(" ")}, without a failed test\n${unhandledErrors(readFileSync(output, "utf8"))}`],
  };
}
