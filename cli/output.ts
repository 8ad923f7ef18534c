import type { Write } from "./render/renderer.ts";

export type OutputFormat = "text" | "json" | "jsonl";
export type OutputOptions = {
  readonly output: OutputFormat;
  readonly progress: "auto" | "tty" | "plain";
  readonly quiet?: boolean;
  readonly verbose?: boolean;
};

/** stdout holds results, stderr is for people. */
export const toStdout: Write = (text) => void process.stdout.write(text);
export const toStderr: Write = (text) => void process.stderr.write(text);

export const printLines = (write: Write, lines: readonly string[]): void => {
  if (lines.length > 0) write(`${lines.join("\n")}\n`);
};

export const printJson = (value: unknown): void => toStdout(`${JSON.stringify(value, undefined, 2)}\n`);

/** A list as a table, or as one JSON document, or as one JSON object a line. */
export function printList<T>(items: readonly T[], format: OutputFormat, text: (items: readonly T[]) => readonly string[]): void {
  if (format === "json") printJson(items);
  else if (format === "jsonl") for (const item of items) toStdout(`${JSON.stringify(item)}\n`);
  else printLines(toStdout, text(items));
}

/** Redrawing needs a terminal that can move its cursor, and nobody who reads a log afterwards. */
export function progressStyle(options: Pick<OutputOptions, "progress">, environment: NodeJS.ProcessEnv, isTty: boolean): "tty" | "plain" {
  if (options.progress !== "auto") return options.progress;
  const isLog = (environment.CI ?? "") !== "" || environment.TERM === "dumb" || environment.NO_COLOR !== undefined;
  return isTty && !isLog ? "tty" : "plain";
}
