import { execFileSync } from "node:child_process";
import os from "node:os";
import pkg from "../package.json" with { type: "json" };

/** Where and with what a figure was measured. */
export async function machineFacts(): Promise<Record<string, unknown>> {
  return {
    cpu: os.cpus()[0]?.model ?? "unknown",
    cores: os.cpus().length,
    memoryGb: Math.round(os.totalmem() / 1e9),
    kernel: os.release(),
    node: process.version,
    slipway: pkg.version,
    commit: execFileSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" }).trim(),
    load1: Number(os.loadavg()[0]!.toFixed(2)),
    at: new Date().toISOString(),
  };
}
