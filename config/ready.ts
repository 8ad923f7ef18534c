import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import nodeModule from "node:module";
import path from "node:path";

/** The Slipway processes of a host, by the name that logs, pid files and `doctor` use. */
export const processNames = ["s3", "temporal", "containerd", "registry", "mirror", "router", "resolver", "control", "host"] as const;
export type ProcessName = (typeof processNames)[number];

export const readyFile = (runDir: string, name: ProcessName): string => path.join(runDir, `${name}.ready`);

/** Says to whoever started this process that it serves; withdrawn when the process ends. */
export function announceReady(runDir: string, name: ProcessName): void {
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  const file = readyFile(runDir, name);
  writeFileSync(file, String(process.pid));
  process.once("exit", () => rmSync(file, { force: true }));
  keepCompiledCode();
}

/** After a kill the next process starts with a third less CPU time when this one has left its compiled code. */
function keepCompiledCode(): void {
  // Node 20 has none
  const { flushCompileCache } = nodeModule as Partial<typeof nodeModule>;
  setTimeout(() => flushCompileCache?.(), 2_000).unref();
}
