import { spawn } from "node:child_process";

export class ToolError extends Error {
  override readonly name = "ToolError";
}

export type CommandOptions = { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv; readonly signal: AbortSignal };

/** Runs to the end and gives stdout. @throws ToolError with the command and the last lines it said. */
export async function runCommand(argv: readonly [string, ...string[]], options: CommandOptions): Promise<string> {
  const [command, ...args] = argv;
  const child = spawn(command, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: options.env ?? process.env,
    signal: options.signal,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const stdout: Buffer[] = [];
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-8192)));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", (cause: NodeJS.ErrnoException) =>
      reject(cause.code === "ENOENT" ? new ToolError(`Cannot run "${command}": it is not installed`, { cause }) : cause),
    );
    child.once("close", resolve);
  });
  options.signal.throwIfAborted();
  if (code === 0) return Buffer.concat(stdout).toString();
  const tail = (said || Buffer.concat(stdout).toString()).trimEnd().split("\n").slice(-15).join("\n  ");
  throw new ToolError(`Cannot finish "${argv.join(" ")}": exit code ${code}\n  ${tail}`);
}
