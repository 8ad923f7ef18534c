/** One thing that has to hold; `fix` is the command or step that mends it. */
export type Check = { readonly name: string; readonly ok: boolean; readonly detail: string; readonly fix?: string };

export type CheckRun = (signal: AbortSignal) => Promise<Check>;

const timeoutMs = 5_000;

/**
 * @param fix what mends it, whatever was found; an error with a `command` of its own knows better
 * @param look answers what was found; whatever it throws is what is wrong
 */
export function check(name: string, fix: string, look: (signal: AbortSignal) => Promise<string> | string): CheckRun {
  return async (signal) => {
    try {
      return { name, ok: true, detail: await look(AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])) };
    } catch (error) {
      signal.throwIfAborted();
      return { name, ok: false, detail: detailOf(error), fix: (error as { command?: string }).command ?? fix };
    }
  };
}

function detailOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code, syscall, path } = error as NodeJS.ErrnoException;
  return code === "ENOENT" && syscall?.startsWith("spawn") === true ? `"${path}" is missing` : error.message;
}

/** -1, 0 or 1 for versions like `1.26.8`; a part that is missing counts as 0. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.replace(/^v/, "").split(/[.+-]/).map(Number));
  for (let index = 0; index < 3; index++) {
    const difference = (left?.[index] ?? 0) - (right?.[index] ?? 0);
    if (difference !== 0) return Math.sign(difference);
  }
  return 0;
}

/** @throws Error naming what was found and what is needed */
export function requireVersion(found: string, least: string): string {
  if (compareVersions(found, least) >= 0) return found;
  throw new Error(`found ${found}, expected ${least} or newer`);
}
