import { setTimeout as sleep } from "node:timers/promises";
import fastify, { type FastifyInstance } from "fastify";
import { answerBadUrl } from "../../oci/routes/bad-url.ts";
import { type DistributionLog, registerDistribution } from "../../oci/routes/register-distribution.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { DistributionTarget } from "../../oci/routes/distribution-call.ts";
import type { DistributionStore } from "../../oci/store.ts";
import { deferred } from "../../config/deferred.ts";

export type ListenerOptions = {
  readonly org: string;
  readonly address: string;
  readonly port: number;
  readonly store: (method: string, target: DistributionTarget) => DistributionStore;
  readonly log: DistributionLog;
};

export type ListenerState = { readonly address: string; readonly listening: boolean; readonly error?: string };

/** One socket of one org. Who connects to it is that org: the socket is the identity, no header is. */
export type Listener = AsyncDisposable & {
  state(): ListenerState;
  /** Resolves once it listens. */
  listening(signal: AbortSignal): Promise<void>;
};

/** The address of a bridge comes when the org's network is made, which may be after the mirror's start. */
const retryMs = 250;
const headersTimeoutMs = 10_000;

/** Listens as soon as the address exists, however long that takes. */
export function openListener(options: ListenerOptions): Listener {
  const { address, port } = options;
  const closed = new AbortController();
  const opened = deferred<void>();
  let app: FastifyInstance | undefined;
  let error: string | undefined;

  const running = (async () => {
    while (!closed.signal.aborted) {
      const next = createApp(options);
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

function createApp({ org, store, log }: ListenerOptions): FastifyInstance {
  const app = fastify({
    logger: false,
    forceCloseConnections: true,
    frameworkErrors: answerBadUrl,
    http: { headersTimeout: headersTimeoutMs, maxHeaderSize: 16 * 1024 },
  });
  app.addHook("onSend", async (request, reply) => {
    if (request.distribution?.ns !== undefined) reply.header("oci-namespace", request.distribution.ns);
  });
  registerDistribution(app, {
    store(request) {
      if (request.distribution === null) throw new DistributionError("NAME_UNKNOWN");
      return store(request.method, request.distribution);
    },
    log: {
      info: (fields, message) => log.info({ org, ...fields }, message),
      error: (fields, message) => log.error({ org, ...fields }, message),
    },
  });
  return app;
}
