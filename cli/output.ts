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

/** One result as a JSON document, or as one line; text is the caller's. */
export const printResult = (format: Exclude<OutputFormat, "text">, result: Record<string, unknown>): void => {
  const document = { schema_version: 1, ...result };
  if (format === "json") printJson(document);
  else toStdout(`${JSON.stringify(document)}\n`);
};

export type ListOutput<T> = {
  /** what the list is called in the JSON document */
  readonly name: string;
  readonly items: readonly T[];
  /** an item in JSON's names: what is printed is a contract, what is held inside is not */
  readonly json: (item: T) => Record<string, unknown>;
  readonly text: (items: readonly T[]) => readonly string[];
};

/** A list as a table, or as one JSON document `{schema_version, <name>: […]}`, or as one JSON object a line. */
export function printList<T>(format: OutputFormat, { name, items, json, text }: ListOutput<T>): void {
  if (format === "json") printJson({ schema_version: 1, [name]: items.map(json) });
  else if (format === "jsonl") for (const item of items) toStdout(`${JSON.stringify({ schema_version: 1, ...json(item) })}\n`);
  else printLines(toStdout, text(items));
}

/** Redrawing needs a terminal that can move its cursor, and nobody who reads a log afterwards. */
export function progressStyle(options: Pick<OutputOptions, "progress">, environment: NodeJS.ProcessEnv, isTty: boolean): "tty" | "plain" {
  if (options.progress !== "auto") return options.progress;
  const isLog = (environment.CI ?? "") !== "" || environment.TERM === "dumb";
  return isTty && !isLog ? "tty" : "plain";
}

/** https://no-color.org: set and not empty means none; and only a terminal understands them. */
export const mayColour = (environment: NodeJS.ProcessEnv, isTty: boolean): boolean => isTty && (environment.NO_COLOR ?? "") === "";
