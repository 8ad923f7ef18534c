import type { SuiteReport } from "./oci-suite.ts";

/** The table of all runs, then what failed and what was skipped, with the suite's own words. */
export function renderReports(reports: readonly SuiteReport[]): string {
  const rows = reports.map(({ version, passed, skipped, failed }) => [version, passed, skipped.length, failed.length].map(String));
  const table = [["version", "pass", "skip", "FAIL"], ...rows].map((cells) => cells.map((cell) => cell.padStart(8)).join(""));
  const details = reports.flatMap(({ version, failed, skipped, disabled }) => [
    ...failed.map(({ name, output }) => `FAIL ${version} ${name}\n${indented(output)}`),
    ...skipped.map(({ name, output }) => `skip ${version} ${name}\n${indented(output)}`),
    ...disabled.map((name) => `off  ${version} ${name}`),
  ]);
  return [...table, ...(details.length === 0 ? [] : ["", ...details])].join("\n");
}

function indented(text: string): string {
  return text
    .slice(0, 2000)
    .split("\n")
    .map((line) => `       ${line}`)
    .join("\n");
}
