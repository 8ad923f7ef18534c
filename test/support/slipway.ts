import { spawn } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

const launcher = path.join(path.dirname(fileURLToPath(import.meta.url)), "../../cli/slipway.mjs");

export type CliResult = { readonly code: number | null; readonly stdout: string; readonly stderr: string };
export type RunningCli = {
  readonly pid: number;
  readonly finished: Promise<CliResult>;
  kill(signal: NodeJS.Signals): void;
  stderr(): string;
};

/** Starts the CLI as a user would, as a process of its own, against the instance in `dataDir`. */
export function startSlipway(
  dataDir: string,
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): RunningCli {
  const env: NodeJS.ProcessEnv = { ...process.env, SLIPWAY_DATA: dataDir, NO_COLOR: "1", ...options.env };
  // what vitest and CI set must not choose the CLI's behaviour
  for (const name of ["NODE_OPTIONS", "CI", "GITHUB_ACTIONS"]) if (options.env?.[name] === undefined) delete env[name];
  const child = spawn(process.execPath, [launcher, ...args], { cwd: options.cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const finished = new Promise<CliResult>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
  return { pid: child.pid!, finished, kill: (signal) => void child.kill(signal), stderr: () => stderr };
}

export async function slipway(
  dataDir: string,
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<CliResult> {
  return startSlipway(dataDir, args, options).finished;
}
