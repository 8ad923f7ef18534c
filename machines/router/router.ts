import { createKeyedQueue } from "../../config/keyed-queue.ts";
import { writeFileAtomic } from "../../config/write-file-atomic.ts";
import { urlHost } from "../../config/url-host.ts";
import { type AppServer, openAppServer } from "./app-server.ts";
import { createInFlight } from "./in-flight.ts";
import { readRoutes, type Route, routeKey, type Target, targetKey } from "./routes.ts";

export type RouterOptions = { readonly stateFile: string; readonly listenHost: string; readonly firstPort: number };

export type RouteView = Route & { readonly url: string; readonly listening: boolean; readonly inFlight: Readonly<Record<string, number>> };

export type Router = {
  /** Answers when the switch is on disk and done. An app keeps the port it has unless another is asked for. */
  put(wanted: { org: string; app: string; port?: number; targets: readonly Target[] }): Promise<RouteView>;
  /** A machine answers at another address now; nothing happens when no target of the app has its old one (any more). */
  move(org: string, app: string, addresses: { readonly from: string; readonly to: string }): Promise<void>;
  delete(org: string, app: string): Promise<void>;
  list(): readonly RouteView[];
  /** requests on their way to any port of that address */
  inFlight(address: string): number;
  close(timeoutMs: number): Promise<void>;
};

const reopenMs = 500;

/** Brings back the routes of the last time. A port that something else holds just now is tried again until it is free. */
export async function openRouter(options: RouterOptions): Promise<Router> {
  const routes = new Map((await readRoutes(options.stateFile)).map((route) => [routeKey(route), route]));
  const servers = new Map<string, AppServer>();
  const inFlight = createInFlight();
  const queue = createKeyedQueue();
  const inTurn = <T>(task: () => Promise<T>) => queue("routes", task);

  const open = (route: Route) => openAppServer({ ...route, host: options.listenHost, inFlight });
  const persist = async (next: ReadonlyMap<string, Route>) =>
    await writeFileAtomic(options.stateFile, `${JSON.stringify({ routes: [...next.values()] }, null, 2)}\n`);

  async function openMissing(): Promise<void> {
    for (const [key, route] of routes) {
      if (servers.has(key)) continue;
      const server = await open(route).catch(() => undefined);
      if (server !== undefined) servers.set(key, server);
    }
  }

  async function put(wanted: { org: string; app: string; port?: number; targets: readonly Target[] }): Promise<RouteView> {
    const key = routeKey(wanted);
    const before = routes.get(key);
    const server = await serverFor(key, before, wanted);
    const route: Route = { org: wanted.org, app: wanted.app, port: server.port, targets: wanted.targets };
    try {
      await persist(new Map(routes).set(key, route));
    } catch (error) {
      if (server !== servers.get(key)) await server.close(0);
      throw error;
    }
    const old = servers.get(key);
    routes.set(key, route);
    servers.set(key, server);
    server.switchTo(wanted.targets);
    if (old !== undefined && old !== server) void old.close(30_000);
    return view(route);
  }

  /** The app's open port, or a new one: the wanted, the one it had, or the first that is free. */
  async function serverFor(
    key: string,
    before: Route | undefined,
    wanted: { app: string; org: string; port?: number },
  ): Promise<AppServer> {
    const port = wanted.port ?? before?.port;
    const existing = servers.get(key);
    if (existing !== undefined && (port === undefined || existing.port === port)) return existing;
    const empty = { org: wanted.org, app: wanted.app, targets: [] };
    if (port !== undefined) return await open({ ...empty, port });
    const taken = new Set([...routes.values()].map((route) => route.port));
    for (let candidate = options.firstPort; candidate <= 65_535; candidate++) {
      if (taken.has(candidate)) continue;
      const server = await open({ ...empty, port: candidate }).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "EADDRINUSE" || error.code === "EACCES") return undefined;
        throw error;
      });
      if (server !== undefined) return server;
    }
    throw new Error(`Cannot find a free port for app "${wanted.app}" from ${options.firstPort} upward`);
  }

  function view(route: Route): RouteView {
    const host = ["0.0.0.0", "::"].includes(options.listenHost) ? "127.0.0.1" : options.listenHost;
    const url = `http://${urlHost(host)}:${route.port}`;
    const counts = Object.fromEntries(route.targets.map((target) => [targetKey(target), inFlight.count(target)]));
    return { ...route, url, listening: servers.has(routeKey(route)), inFlight: counts };
  }

  await openMissing();
  const reopen = setInterval(() => void inTurn(openMissing), reopenMs);
  return {
    put: (wanted) => inTurn(() => put(wanted)),
    move: (org, app, { from, to }) =>
      inTurn(async () => {
        const route = routes.get(routeKey({ org, app }));
        if (route === undefined || !route.targets.some(({ address }) => address === from)) return;
        await put({ org, app, targets: route.targets.map((target) => (target.address === from ? { ...target, address: to } : target)) });
      }),
    delete: (org, app) =>
      inTurn(async () => {
        const key = routeKey({ org, app });
        const next = new Map(routes);
        if (!next.delete(key)) return;
        await persist(next);
        routes.delete(key);
        void servers.get(key)?.close(30_000);
        servers.delete(key);
      }),
    list: () => [...routes.values()].map(view),
    inFlight: (address) => {
      const prefix = `${targetKey({ address, port: 1 }).slice(0, -1)}`;
      return [...inFlight.all()].reduce((sum, [key, count]) => (key.startsWith(prefix) ? sum + count : sum), 0);
    },
    async close(timeoutMs) {
      clearInterval(reopen);
      await inTurn(async () => undefined);
      await Promise.all([...servers.values()].map((server) => server.close(timeoutMs)));
    },
  };
}
