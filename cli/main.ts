import { CommanderError } from "commander";
import type { CliError } from "./errors.ts";
import { exitCodeOf, type Outcome } from "./exit-codes.ts";
import { createProgram } from "./program/program.ts";
import type { Run } from "./program/run.ts";

const run: Run = async (options, body) => {
  try {
    process.exitCode = await body();
  } catch (error) {
    process.exitCode = exitCodeOf(explain(error, options.verbose === true, options.output ?? "text"));
  }
};

/** Errors that the user can mend, by name: they are thrown by parts that this file must not load. */
const usageErrors = new Set(["AppConfigError", "SourceError"]);
const setupErrors = new Set(["StackError", "ToolError"]);

/** Says what went wrong on stderr, in JSON on stdout when that was asked for; answers how the process ends. */
function explain(error: unknown, verbose: boolean, format: string): Outcome {
  const fault = error instanceof Error ? error : new Error(String(error));
  const { outcome, code, tryCommand } = classify(fault);
  process.stderr.write(`Error: ${fault.message}\nCode: ${code}\n`);
  if (tryCommand !== undefined) process.stderr.write(`Try: ${tryCommand}\n`);
  if (verbose) process.stderr.write(`${fault.stack ?? ""}\n${fault.cause instanceof Error ? `Cause: ${fault.cause.stack}\n` : ""}`);
  if (format !== "text") {
    const body = { schema_version: 1, status: "failed", changed: false, error: { code, message: fault.message } };
    process.stdout.write(`${JSON.stringify(format === "jsonl" ? { type: "result", ...body } : body)}\n`);
  }
  return outcome;
}

function classify(error: Error): { outcome: Outcome; code: string; tryCommand?: string } {
  if (error.name === "CliError") {
    const { outcome, tryCommand } = error as CliError;
    return { outcome, code: codeOf(outcome), ...(tryCommand === undefined ? {} : { tryCommand }) };
  }
  if (error.name === "SettingsError")
    return { outcome: { kind: "usage" }, code: "USAGE", tryCommand: "slipway up (writes an instance's settings where there are none)" };
  if (usageErrors.has(error.name)) return { outcome: { kind: "usage" }, code: "USAGE" };
  // they name what failed and what to do; the doctor sees what else is wrong
  if (setupErrors.has(error.name)) return { outcome: { kind: "unexpected" }, code: "UNEXPECTED", tryCommand: "slipway doctor" };
  // a gRPC status: the control plane went away in the middle of a request
  if (error.name === "ServiceError" || /\b(UNAVAILABLE|DEADLINE_EXCEEDED)\b/.test(error.message))
    return { outcome: { kind: "control plane unreachable" }, code: "CONTROL_PLANE_UNREACHABLE", tryCommand: "slipway doctor" };
  return { outcome: { kind: "unexpected" }, code: "UNEXPECTED", tryCommand: "the same command with -v, or slipway doctor" };
}

function codeOf(outcome: Outcome): string {
  return outcome.kind === "failed" ? outcome.code : outcome.kind.toUpperCase().replaceAll(" ", "_");
}

/** Parses the arguments and runs the command; sets `process.exitCode`. */
async function main(argv: readonly string[]): Promise<void> {
  const program = createProgram(run);
  for (const command of [program, ...program.commands, ...program.commands.flatMap((group) => group.commands)]) command.exitOverride();
  // a reader that has enough (`| head`) is no error
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? 0 : exitCodeOf({ kind: "usage" });
  }
}

await main(process.argv);
// what is left open (connections, timers) has nothing more to say; stdout is written in full, as pipes and files are synchronous
process.exit();
