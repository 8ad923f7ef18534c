import { readFileSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import { z } from "zod";

export type FileOutcome = {
  readonly file: string;
  readonly passed: number;
  /** One text per failed test, or one for the file: where it stands, its name, and how it failed. */
  readonly failures: readonly string[];
};

const reportSchema = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      message: z.string().default(""),
      assertionResults: z.array(z.object({ fullName: z.string(), status: z.string(), failureMessages: z.array(z.string()).nullish() })),
    }),
  ),
});

/** What vitest's JSON report says of each file; a report that cannot be read says nothing. */
export function readReport(file: string): readonly FileOutcome[] {
  return (parse(file)?.testResults ?? []).map(({ name, status, message, assertionResults }) => {
    const failed = assertionResults.filter((test) => test.status === "failed");
    const failures = failed.map((test) => `${name} > ${test.fullName}\n${(test.failureMessages ?? []).join("\n")}`);
    if (failures.length === 0 && status === "failed") failures.push(`${name}\n${message}`);
    return { file: name, passed: assertionResults.filter((test) => test.status === "passed").length, failures };
  });
}

/** vitest's report has no word of errors outside of tests; its output has. */
export function unhandledErrors(output: string): string {
  const plain = stripVTControlCharacters(output);
  const at = plain.indexOf("Unhandled Errors");
  return (at === -1 ? plain.slice(-2000) : plain.slice(at, at + 2000)).trim();
}

function parse(file: string): z.infer<typeof reportSchema> | undefined {
  try {
    return reportSchema.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    return undefined;
  }
}
