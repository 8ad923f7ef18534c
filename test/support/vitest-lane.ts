import { spawn } from "node:child_process";
import { createWriteStream, readFileSync } from "node:fs";
import path from "node:path";
import { type FileOutcome, readReport, unhandledErrors } from "./read-report.ts";

/** Projects that run one after the other in one vitest. */
export type Lane = { readonly projects: readonly string[]; readonly files?: readonly string[] };

export type LaneOutcome = {
  readonly files: readonly FileOutcome[];
  /** what failed without a failed file: a set-up, an unhandled rejection */
  readonly besideFiles: readonly string[];
  readonly output: string;
};

export type LaneOptions = {
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
  /** for its report and its output; made before, removed by the caller */
  readonly dir: string;
  readonly isShown: boolean;
};

/** One run of vitest over a lane, to its end. */
export async function runLane(lane: Lane, { root, env, dir, isShown }: LaneOptions): Promise<LaneOutcome> {
  const name = path.join(dir, crypto.randomUUID());
  const [report, output] = [`${name}.json`, `${name}.log`];
  const selected = [...(lane.files ?? []), ...lane.projects.flatMap((project) => ["--project", project])];
  const argv = ["run", ...selected, "--reporter=default", "--reporter=json", `--outputFile=${report}`];
  console.log(`\n> vitest ${argv.join(" ")}`);
  const child = spawn(path.join(root, "node_modules", ".bin", "vitest"), argv, { cwd: root, stdio: ["ignore", "pipe", "pipe"], env });
  const log = createWriteStream(output);
  for (const stream of [child.stdout, child.stderr]) {
    stream.pipe(log, { end: false });
    if (isShown) stream.pipe(process.stdout, { end: false });
  }
  const isOk = await new Promise<boolean>((resolve) => {
    child.once("error", () => resolve(false)).once("close", (code) => resolve(code === 0));
  });
  await new Promise<void>((resolve) => log.end(resolve));
  const files = readReport(report);
  const text = readFileSync(output, "utf8");
  const isExplained = isOk || files.some(({ failures }) => failures.length > 0);
  const besideFiles = isExplained ? [] : [`vitest ${selected.join(" ")}, without a failed test\n${unhandledErrors(text)}`];
  return { files, besideFiles, output: text };
}
