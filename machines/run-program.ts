import { spawn } from "node:child_process";

export type ProgramOptions = {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
};

export class ProgramError extends Error {
  override readonly name = "ProgramError";
  readonly stdout: string;
  readonly stderr: string;

  constructor(program: string, args: readonly string[], outcome: string, stdout: string, stderr: string) {
    super(`"${[program, ...args].join(" ")}" ${outcome}: ${(stderr || stdout).trim().slice(0, 2000)}`);
    this.stdout = stdout;
    this.stderr = stderr;
  }
}

/** Runs a program by argv, without a shell, and answers its standard output. @throws ProgramError with what it printed. */
export async function runProgram(program: string, args: readonly string[], options: ProgramOptions = {}): Promise<string> {
  options.signal?.throwIfAborted();
  const child = spawn(program, args, {
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ...options.env },
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
  // a program that ends before it has read its input says why on stderr
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.input ?? "");
  const outcome = await new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? signal ?? "SIGKILL"));
  });
  const stdout = Buffer.concat(out).toString();
  if (outcome === 0) return stdout;
  throw new ProgramError(program, args, `ended with ${outcome}`, stdout, Buffer.concat(err).toString());
}
