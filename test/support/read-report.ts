import { readFileSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import { z } from "zod";

export type Outcome = {
  readonly passed: number;
  /** One text per failed test or file: where it stands, its name, and how it failed. */
  readonly failures: readonly string[];
};

const reportSchema = z.object({
  numPassedTests: z.number(),
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      message: z.string().default(""),
      assertionResults: z.array(z.object({ fullName: z.string(), status: z.string(), failureMessages: z.array(z.string()).nullish() })),
    }),
  ),
});

/** What vitest's JSON report says; a report that cannot be read says nothing. */
export function readReport(file: string): Outcome {
  const report = parse(file);
  const failures = (report?.testResults ?? []).flatMap(({ name, status, message, assertionResults }) => {
    const failed = assertionResults.filter((test) => test.status === "failed");
    if (failed.length === 0) return status === "failed" ? [`${name}\n${message}`] : [];
    return failed.map((test) => `${name} > ${test.fullName}\n${(test.failureMessages ?? []).join("\n")}`);
  });
  return { passed: report?.numPassedTests ?? 0, failures };
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
