import http from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import type { HttpCheck } from "../workflows/types.ts";
import { MachineError } from "./errors.ts";
import type { MachineState } from "./types.ts";

export type HealthInput = {
  /** the machine's own address in its org's network */
  readonly address: string;
  readonly checks: readonly HttpCheck[];
  readonly timeoutMs: number;
  readonly inspect: () => Promise<MachineState | undefined>;
};

export type CheckAttempt = { readonly check: string; readonly attempt: number; readonly passed: boolean; readonly answer: string };

export type HealthOptions = { readonly signal: AbortSignal; readonly onAttempt?: (attempt: CheckAttempt) => void };

/** A machine without checks is healthy when it has lived that long. */
const smokePeriodMs = 1000;
const aliveIntervalMs = 250;
const bodyLimitBytes = 64 * 1024;

/**
 * Waits until every check has passed once; asks the machine itself, never by its route.
 * @throws MachineError MACHINE_EXITED at once when it ends, CHECK_TIMED_OUT with the last answers after `timeoutMs`
 */
export async function awaitHealthy(input: HealthInput, { signal, onAttempt }: HealthOptions): Promise<void> {
  const over = new AbortController();
  const timeout = AbortSignal.timeout(input.timeoutMs);
  const ending = AbortSignal.any([signal, over.signal, timeout]);
  const lastAnswers = new Map<string, string>();
  const note = (attempt: CheckAttempt) => {
    lastAnswers.set(attempt.check, attempt.answer);
    onAttempt?.(attempt);
  };
  try {
    const passed = input.checks.length === 0 ? smokePeriod(input, ending) : allPass(input, note, ending);
    await Promise.race([passed, untilExit(input, ending)]);
  } catch (error) {
    signal.throwIfAborted();
    if (timeout.aborted && !(error instanceof MachineError)) throw timedOut(input, lastAnswers);
    throw error;
  } finally {
    over.abort();
  }
}

async function allPass(input: HealthInput, note: (attempt: CheckAttempt) => void, signal: AbortSignal): Promise<void> {
  await Promise.all(input.checks.map((check) => passes(input.address, check, note, signal)));
}

async function passes(address: string, check: HttpCheck, note: (attempt: CheckAttempt) => void, signal: AbortSignal): Promise<void> {
  const startedAt = performance.now();
  for (let attempt = 1; ; attempt++) {
    const answer = await ask(address, check, signal);
    signal.throwIfAborted();
    note({ check: nameOf(check), attempt, ...answer });
    if (answer.passed) return;
    await delay(pauseMs(check, attempt, performance.now() - startedAt), undefined, { signal });
  }
}

/** While it may still be starting, a machine is asked more often than the check says: each pause is time a deploy waits. */
export function pauseMs(check: Pick<HttpCheck, "intervalMs" | "gracePeriodMs">, attempt: number, elapsedMs: number): number {
  const starting = elapsedMs < Math.max(check.gracePeriodMs, 2000);
  return starting ? Math.min(check.intervalMs, 10 * 2 ** Math.min(attempt - 1, 5)) : check.intervalMs;
}

/** One request on a connection of its own; a redirect is an answer like any other, and not a passing one. */
async function ask(address: string, check: HttpCheck, signal: AbortSignal): Promise<{ passed: boolean; answer: string }> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(check.timeoutMs)]);
  return await new Promise((resolve) => {
    const request = http.request({
      host: address,
      port: check.port,
      path: check.path,
      method: check.method,
      headers: { "user-agent": "slipway-check" },
      agent: false,
      signal: limit,
    });
    request.on("response", (response) => {
      const status = response.statusCode ?? 0;
      let sizeBytes = 0;
      response.on("data", (chunk: Buffer) => {
        sizeBytes += chunk.length;
        if (sizeBytes > bodyLimitBytes) request.destroy();
      });
      response.on("error", () => undefined);
      response.on("close", () => resolve({ passed: status >= 200 && status < 300, answer: `HTTP ${status}` }));
    });
    request.on("error", (error: NodeJS.ErrnoException) => {
      resolve({ passed: false, answer: limit.aborted ? `no answer within ${check.timeoutMs} ms` : (error.code ?? error.message) });
    });
    request.end();
  });
}

async function smokePeriod({ timeoutMs }: HealthInput, signal: AbortSignal): Promise<void> {
  await delay(Math.min(smokePeriodMs, timeoutMs / 2), undefined, { signal });
}

/** Never answers; throws when the machine has ended. */
async function untilExit(input: HealthInput, signal: AbortSignal): Promise<never> {
  for (;;) {
    const state = await input.inspect();
    if (state === undefined) throw new MachineError("MACHINE_EXITED", "it was removed while its checks ran");
    if (state.state === "stopped") {
      const code = state.exit === undefined ? "" : ` with exit code ${state.exit.code}`;
      throw new MachineError("MACHINE_EXITED", `it ended${code} before it was healthy`);
    }
    await delay(aliveIntervalMs, undefined, { signal });
  }
}

function timedOut(input: HealthInput, lastAnswers: ReadonlyMap<string, string>): MachineError {
  const waiting = input.checks.map((check) => `${nameOf(check)}: ${lastAnswers.get(nameOf(check)) ?? "no answer yet"}`);
  return new MachineError("CHECK_TIMED_OUT", `no success within ${input.timeoutMs} ms (${waiting.join("; ")})`);
}

const nameOf = (check: HttpCheck): string => `${check.method} :${check.port}${check.path}`;
