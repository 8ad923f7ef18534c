import http from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import type { RouteView } from "./router.ts";
import type { Target } from "./routes.ts";

export type RouterClient = {
  /** Answers when the router has persisted the switch and made it. */
  putRoute(org: string, app: string, route: { port?: number; targets: readonly Target[] }, signal: AbortSignal): Promise<{ url: string }>;
  /** A machine answers at another address now. */
  moveTarget(org: string, app: string, addresses: { readonly from: string; readonly to: string }, signal: AbortSignal): Promise<void>;
  deleteRoute(org: string, app: string, signal: AbortSignal): Promise<void>;
  listRoutes(signal: AbortSignal): Promise<readonly RouteView[]>;
  /** Waits until no request is on its way to the machine at `address`; false when some still are after `timeoutMs`. */
  awaitDrained(org: string, app: string, address: string, options: { timeoutMs: number; signal: AbortSignal }): Promise<boolean>;
};

export class RouterError extends Error {
  override readonly name = "RouterError";
}

const answerTimeoutMs = 10_000;

/** Client of the router process on this host, by its admin socket. Errors: RouterError. */
export function createRouterClient(adminSocket: string): RouterClient {
  const call = <T>(method: string, path: string, body: unknown, signal: AbortSignal) =>
    callRouter<T>(adminSocket, method, path, body, signal);
  const routePath = (org: string, app: string) => `/routes/${encodeURIComponent(org)}/${encodeURIComponent(app)}`;
  return {
    putRoute: (org, app, route, signal) => call<RouteView>("PUT", routePath(org, app), route, signal),
    moveTarget: (org, app, addresses, signal) => call<void>("POST", `${routePath(org, app)}/move`, addresses, signal),
    deleteRoute: (org, app, signal) => call<void>("DELETE", routePath(org, app), undefined, signal),
    listRoutes: async (signal) => (await call<{ routes: readonly RouteView[] }>("GET", "/routes", undefined, signal)).routes,
    async awaitDrained(_org, _app, address, { timeoutMs, signal }) {
      const deadline = Date.now() + timeoutMs;
      for (let pauseMs = 10; ; pauseMs = Math.min(pauseMs * 2, 250)) {
        const { count } = await call<{ count: number }>("GET", `/in-flight/${encodeURIComponent(address)}`, undefined, signal);
        if (count === 0) return true;
        if (Date.now() >= deadline) return false;
        await delay(pauseMs, undefined, { signal });
      }
    },
  };
}

async function callRouter<T>(socketPath: string, method: string, path: string, body: unknown, signal: AbortSignal): Promise<T> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)]);
  const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const request = http.request({
      socketPath,
      method,
      path,
      signal: limit,
      agent: false,
      headers: body === undefined ? {} : { "content-type": "application/json" },
    });
    request.once("error", (cause: Error) =>
      reject(new RouterError(`Cannot reach the router at "${socketPath}": ${cause.message}; is \`slipway up\` running?`, { cause })),
    );
    request.once("response", (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.once("error", reject);
      response.once("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }));
    });
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
  if (status === 204) return undefined as T;
  if (status === 200) return JSON.parse(text) as T;
  throw new RouterError(`The router refused "${method} ${path}" with ${status}: ${text.slice(0, 1000)}`);
}
