import { readFileSync } from "node:fs";
import { z } from "zod";

/** A process for certain: its pid can be given to another one, its pid together with its start (and the boot) cannot. */
export const processIdentitySchema = z.object({ pid: z.number().int().positive(), startTicks: z.string(), bootId: z.string() });
export type ProcessIdentity = z.infer<typeof processIdentitySchema>;

/** `undefined` when no such process runs; a zombie does not run. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const stat = readText(`/proc/${pid}/stat`);
  const startTicks = stat === undefined ? undefined : startTicksOf(stat);
  return startTicks === undefined ? undefined : { pid, startTicks, bootId: bootId() };
}

export function thisProcess(): ProcessIdentity {
  const self = identifyProcess(process.pid);
  if (self === undefined) throw new Error(`Cannot read "/proc/${process.pid}/stat": is /proc mounted?`);
  return self;
}

export function isRunning(identity: ProcessIdentity): boolean {
  const now = identifyProcess(identity.pid);
  return now !== undefined && now.startTicks === identity.startTicks && now.bootId === identity.bootId;
}

/** Field 22 of /proc/<pid>/stat, in clock ticks since boot (proc_pid_stat(5)); the name in field 2 may hold spaces and parentheses. */
export function startTicksOf(stat: string): string | undefined {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = fields;
  return state === "Z" || state === "X" ? undefined : fields[19];
}

function bootId(): string {
  return (readText("/proc/sys/kernel/random/boot_id") ?? "").trim();
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
