import { randomUUID } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Settings } from "../../config/settings.ts";
import { runProgram } from "../run-program.ts";

/** Loads rules as one transaction. From a file: nft 1.0.9 (Ubuntu 24.04) refuses a standard input that is a socket, as Node's are. */
export async function loadRules(settings: Pick<Settings, "runDir">, rules: string, signal: AbortSignal): Promise<void> {
  const file = path.join(settings.runDir, `rules.${randomUUID()}.nft`);
  await mkdir(settings.runDir, { recursive: true, mode: 0o711 });
  try {
    await writeFile(file, rules, { mode: 0o600 });
    await runProgram("nft", ["-f", file], { signal });
  } finally {
    await rm(file, { force: true });
  }
}
