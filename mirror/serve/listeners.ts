import { setTimeout as sleep } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import { deferred } from "../../config/deferred.ts";
import { type AppOptions, createListenerApp } from "./listener-app.ts";

export type ListenerOptions = AppOptions & { readonly ports: readonly number[] };

export type ListenerState = { readonly address: string; readonly listening: boolean; readonly error?: string };

/** One address of one org. Who connects to it is that org: the socket is the identity, no header is. */
export type Listener = AsyncDisposable & {
  state(): ListenerState;
  /** Resolves once it listens on every port. */
  listening(signal: AbortSignal): Promise<void>;
};

/** The address of a bridge comes when the org's network is made, which may be after the mirror's start. */
const retryMs = 250;

/** Listens as soon as the address exists, however long that takes. */
export function openListener(options: ListenerOptions): Listener {
  const { address } = options;
  const ports = options.ports.map((port) => openPort(options, port));
  return {
    state() {
      const states = ports.map((port) => port.state());
      const error = states.find((state) => state.error !== undefined)?.error;
      return { address, listening: states.every((state) => state.listening), ...(error === undefined ? {} : { error }) };
    },
    async listening(signal) {
      await Promise.all(ports.map((port) => port.listening(signal)));
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(ports.map((port) => port[Symbol.asyncDispose]()));
    },
  };
}

function openPort(options: AppOptions, port: number): Listener {
  const { address } = options;
  const closed = new AbortController();
  const opened = deferred<void>();
  let app: FastifyInstance | undefined;
  let error: string | undefined;

  const running = (async () => {
    while (!closed.signal.aborted) {
      const next = createListenerApp(options);
      try {
        await next.listen({ host: address, port });
        app = next;
        error = undefined;
        opened.resolve();
        return;
      } catch (failure) {
        error = (failure as Error).message;
        await next.close();
        await sleep(retryMs, undefined, { signal: closed.signal }).catch(() => undefined);
      }
    }
  })();

  return {
    state: () => ({ address, listening: app !== undefined, ...(error === undefined ? {} : { error }) }),
    async listening(signal) {
      const stopped = deferred<never>();
      const stop = () => stopped.reject(new Error(`Cannot listen on "${address}" port ${port}: ${error ?? "no answer"}`));
      signal.addEventListener("abort", stop, { once: true });
      if (signal.aborted) stop();
      try {
        await Promise.race([opened.promise, stopped.promise]);
      } finally {
        signal.removeEventListener("abort", stop);
      }
    },
    async [Symbol.asyncDispose]() {
      closed.abort();
      await running;
      await app?.close();
    },
  };
}
