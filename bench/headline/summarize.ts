import { median, rounded } from "../median.ts";
import type { CellResult, Results } from "./results.ts";

export type DeploySummary = { readonly directMs: number; readonly mirrorMs: number; readonly ratio: number };
export type CellSummary = {
  readonly rounds: number;
  readonly lanes: number;
  readonly first: DeploySummary;
  readonly redeploy: DeploySummary;
};

/** Medians of each cell that has a whole round, and how many times slower the direct path is. */
export function summarize({ cells }: Results): Record<string, CellSummary> {
  const whole = Object.entries(cells).filter(([, cell]) => cell.direct.redeploy.length > 0 && cell.mirror.redeploy.length > 0);
  return Object.fromEntries(whole.map(([name, cell]) => [name, summaryOf(cell)]));
}

function summaryOf(cell: CellResult): CellSummary {
  const of = (deploy: "first" | "redeploy"): DeploySummary => {
    const directMs = median(cell.direct[deploy].map(({ totalMs }) => totalMs));
    const mirrorMs = median(cell.mirror[deploy].map(({ totalMs }) => totalMs));
    return { directMs: rounded(directMs), mirrorMs: rounded(mirrorMs), ratio: rounded(directMs / mirrorMs, 1) };
  };
  const rounds = Math.min(cell.direct.redeploy.length, cell.mirror.redeploy.length);
  return { rounds, lanes: cell.lanes, first: of("first"), redeploy: of("redeploy") };
}
