import { readFileSync } from "node:fs";

const patienceMs = 60_000;

/** A zombie, whose parent has yet to take notice, runs no more. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** The text of a page, from a server that may be starting. */
export async function page(url: string): Promise<string> {
  return await until(async () => {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
      return await response.text();
    } catch {
      return undefined;
    }
  });
}

/** Asks until there is an answer; its error shows who waited in vain. */
export async function until<T>(probe: () => Promise<T | undefined | false>): Promise<T> {
  const beganAtMs = performance.now();
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (performance.now() - beganAtMs > patienceMs) throw new Error(`nothing came within ${patienceMs} ms of: ${probe.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
