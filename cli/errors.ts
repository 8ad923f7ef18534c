import type { Outcome } from "./exit-codes.ts";

/** A command cannot go on: one sentence for the user, what to do next, and how the process ends. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly outcome: Outcome;
  readonly tryCommand: string | undefined;

  constructor(message: string, options: { outcome?: Outcome; tryCommand?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.outcome = options.outcome ?? { kind: "usage" };
    this.tryCommand = options.tryCommand;
  }
}
