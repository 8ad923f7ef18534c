import { createHash, randomUUID } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import type { Settings } from "../config/settings.ts";
import { stackFiles } from "./files.ts";
import type { ProcessSpec } from "./process-spec.ts";

const supervisedSchema = z.object({
  /** of the spec it was started from */
  fingerprint: z.string(),
  startedAtMs: z.number(),
  /** ends that nobody asked for, since it last ran well */
  failures: z.number(),
  restarts: z.number(),
  lastEnd: z.string().optional(),
});
export type Supervised = z.infer<typeof supervisedSchema>;

const stateSchema = z.object({ plan: z.string(), processes: z.record(z.string(), supervisedSchema) });
/** What the supervisor tells `up` and `status`; `plan` is the fingerprint of everything it was asked to run. */
export type SupervisorState = z.infer<typeof stateSchema>;

export function readSupervisorState(settings: Settings): SupervisorState | undefined {
  try {
    return stateSchema.parse(JSON.parse(readFileSync(stackFiles.supervisorState(settings), "utf8")));
  } catch {
    return undefined;
  }
}

export function writeSupervisorState(settings: Settings, state: SupervisorState): void {
  const file = stackFiles.supervisorState(settings);
  const next = `${file}.${randomUUID()}`;
  writeFileSync(next, JSON.stringify(state), { mode: 0o600 });
  renameSync(next, file);
}

export function fingerprint(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16);
}

/** @param revision of what the spec does not show: our own code, the settings, containerd's configuration */
export function specFingerprint(spec: ProcessSpec, revision: string): string {
  return fingerprint([spec.argv, spec.env, revision]);
}
