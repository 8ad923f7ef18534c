import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
/** The kernel's clock for files is up to a tick behind: 10 ms at 100 Hz. */
const clockStepMs = 20;

/**
 * Whether applying a layer since `startedAtMs` made folders that its archive does not name. containerd copies their modes and owners from
 * the layers below, when it has these; named ones carry the time that the archive says. When it cannot be told: yes.
 */
export async function hasImpliedFolders(dir: string, startedAtMs: number, signal: AbortSignal): Promise<boolean> {
  const since = `@${((startedAtMs - clockStepMs) / 1000).toFixed(3)}`;
  try {
    const { stdout } = await run("find", [dir, "-xdev", "-mindepth", "1", "-type", "d", "-newermt", since, "-print", "-quit"], { signal });
    return stdout !== "";
  } catch {
    signal.throwIfAborted();
    return true;
  }
}
