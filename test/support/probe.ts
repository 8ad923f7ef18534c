import { setTimeout as sleep } from "node:timers/promises";

export type Probe = AsyncDisposable & { stop(): Promise<{ failures: readonly string[]; bodies: ReadonlySet<string>; requests: number }> };

/** Asks a URL all the time, one request after another, until stopped. A status other than 200 is a failure. */
export function probe(url: string, pauseMs = 5): Probe {
  const failures: string[] = [];
  const bodies = new Set<string>();
  let requests = 0;
  let going = true;
  const loop = (async () => {
    while (going) {
      requests++;
      try {
        const answer = await fetch(url, { signal: AbortSignal.timeout(5000) });
        const body = await answer.text();
        if (answer.status === 200) bodies.add(body);
        else failures.push(`${answer.status}: ${body.slice(0, 200)}`);
      } catch (error) {
        failures.push(String((error as Error).cause ?? error));
      }
      await sleep(pauseMs);
    }
  })();
  const stop = async () => {
    going = false;
    await loop;
    return { failures, bodies, requests };
  };
  return { stop, [Symbol.asyncDispose]: async () => void (await stop()) };
}
