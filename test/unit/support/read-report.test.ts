import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readReport, unhandledErrors } from "../../support/read-report.ts";

const dir = mkdtempSync(path.join(tmpdir(), "slipway-report-"));
afterAll(() => rmSync(dir, { recursive: true }));

describe("what a run of vitest said", () => {
  it("counts what passed and names each failed test with its failure", () => {
    const failed = { fullName: "a push ends", status: "failed", failureMessages: ["expected 1 to be 2"] };
    const passed = { fullName: "a push starts", status: "passed", failureMessages: [] };
    const file = written({
      testResults: [{ name: "push.test.ts", status: "failed", assertionResults: [passed, failed] }],
    });

    expect(readReport(file)).toEqual([{ file: "push.test.ts", passed: 1, failures: ["push.test.ts > a push ends\nexpected 1 to be 2"] }]);
  });

  it("names a file that failed before its first test", () => {
    const file = written({
      testResults: [{ name: "push.test.ts", status: "failed", message: "no such module", assertionResults: [] }],
    });

    expect(readReport(file)).toEqual([{ file: "push.test.ts", passed: 0, failures: ["push.test.ts\nno such module"] }]);
  });

  it("quotes from the output what failed outside of the tests", () => {
    const output = "a line of before\n\u001b[31mUnhandled Errors\u001b[39m\nError: hop";
    expect(unhandledErrors(output)).toBe("Unhandled Errors\nError: hop");
  });

  it("says nothing for a run that left no report", () => {
    expect(readReport(path.join(dir, "missing.json"))).toEqual([]);
  });
});

function written(report: object): string {
  const file = path.join(dir, "report.json");
  writeFileSync(file, JSON.stringify(report));
  return file;
}
