import { mkdtemp, readFile, rm } from "node:fs/promises";
import http from "node:http";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createRouterClient } from "../../../machines/router/admin-client.ts";
import { listenAdmin } from "../../../machines/router/admin.ts";
import { openRouter, type Router } from "../../../machines/router/router.ts";

const signal = AbortSignal.timeout(100_000);

describe("the router", () => {
  let dir: string;
  let router: Router;
  const servers: http.Server[] = [];
  const options = () => ({ stateFile: path.join(dir, "routes.json"), listenHost: "127.0.0.1", firstPort: 42_000 });

  beforeEach(async () => {
    dir = await mkdtemp(path.join(tmpdir(), "router-"));
    router = await openRouter(options());
  });
  afterEach(async () => {
    await router.close(0);
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
    await rm(dir, { recursive: true, force: true });
  });

  async function machine(listener: http.RequestListener): Promise<{ address: string; port: number; server: http.Server }> {
    const server = http.createServer(listener);
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return { address: "127.0.0.1", port: (server.address() as AddressInfo).port, server };
  }
  const named = (name: string) => machine((request, response) => void request.resume().on("end", () => response.end(name)));
  const target = ({ address, port }: { address: string; port: number }) => ({ address, port });
  const unused = async () => {
    const gone = await named("gone");
    await new Promise((resolve) => gone.server.close(resolve));
    return target(gone);
  };

  test("moves an app's target with its machine, and nothing when the route has gone on", async () => {
    const [one, two] = [await named("one"), await named("two")];
    await router.put({ org: "acme", app: "web", targets: [{ address: "127.0.0.2", port: one.port }, target(two)] });
    await using _admin = await listenAdmin(router, path.join(dir, "admin.sock"));
    const client = createRouterClient(path.join(dir, "admin.sock"));
    await client.moveTarget("acme", "web", { from: "127.0.0.2", to: "127.0.0.1" }, signal);
    expect(router.list()[0]?.targets).toEqual([target(one), target(two)]);
    await client.moveTarget("acme", "web", { from: "127.0.0.2", to: "127.0.0.3" }, signal);
    await client.moveTarget("acme", "other", { from: "127.0.0.1", to: "127.0.0.3" }, signal);
    expect(router.list().map(({ targets }) => targets)).toEqual([[target(one), target(two)]]);
  });

  test("fails no request while the app's machines are switched under load, and stops the old one once drained", async () => {
    let current = await named("v0");
    const { url } = await router.put({ org: "acme", app: "web", targets: [target(current)] });
    const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
    const failures: string[] = [];
    const answers = new Map<string, number>();
    let running = true;
    const load = Array.from({ length: 8 }, async (_, worker) => {
      for (let n = 0; running; n++) {
        const body = (worker + n) % 2 === 0 ? "x".repeat(2000) : undefined;
        const answer = await ask(url, { agent, ...(body === undefined ? {} : { method: "POST", body }) });
        if (answer.status === 200) answers.set(answer.body, (answers.get(answer.body) ?? 0) + 1);
        else failures.push(`${answer.status} ${answer.body}`);
      }
    });
    for (let version = 1; version <= 10; version++) {
      const next = await named(`v${version}`);
      await router.put({ org: "acme", app: "web", targets: [target(next)] });
      const seenBefore = answers.get(`v${version}`) ?? 0;
      while ((answers.get(`v${version}`) ?? 0) < seenBefore + 5 && failures.length === 0)
        await new Promise((resolve) => setTimeout(resolve, 5));
      const old = current;
      current = next;
      await new Promise<void>((resolve) => {
        old.server.close(() => resolve());
        old.server.closeIdleConnections();
      });
    }
    running = false;
    await Promise.all(load);
    agent.destroy();
    expect(failures).toEqual([]);
    expect([...answers.keys()]).toContain("v10");
  });

  test("lets a request that is on its way end on the old machine and counts it until then", async () => {
    let finish: () => void = () => undefined;
    const slow = await machine((_request, response) => {
      response.write("old ");
      finish = () => response.end("done");
    });
    const fast = await named("new");
    const { url } = await router.put({ org: "acme", app: "web", targets: [target(slow)] });
    const first = ask(url);
    while (router.inFlight("127.0.0.1") === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await router.put({ org: "acme", app: "web", targets: [target(fast)] });
    expect((await ask(url)).body).toBe("new");
    expect(router.inFlight("127.0.0.1")).toBe(1);
    finish();
    expect((await first).body).toBe("old done");
    while (router.inFlight("127.0.0.1") !== 0) await new Promise((resolve) => setTimeout(resolve, 5));
  });

  test("asks another machine when one does not take the connection, and says 502 or 503 when none does", async () => {
    const alive = await named("alive");
    const dead = await unused();
    const { url } = await router.put({ org: "acme", app: "web", targets: [dead, target(alive)] });
    for (let n = 0; n < 4; n++) expect((await ask(url, { method: "POST", body: "x" })).body).toBe("alive");
    await router.put({ org: "acme", app: "web", targets: [dead] });
    expect(await ask(url)).toMatchObject({ status: 502, body: expect.stringContaining("ECONNREFUSED") });
    await router.put({ org: "acme", app: "web", targets: [] });
    expect(await ask(url)).toMatchObject({ status: 503, body: expect.stringContaining('"web"') });
  });

  test("tells the machine who asked, and keeps hop-by-hop headers and a client's claims to itself", async () => {
    const echo = await machine((request, response) => response.setHeader("x-answer", "1").end(JSON.stringify(request.headers)));
    const { url } = await router.put({ org: "acme", app: "web", targets: [target(echo)] });
    const headers = { "x-forwarded-for": "6.6.6.6", "x-secret-hop": "1", connection: "x-secret-hop", host: "app.example", "x-own": "yes" };
    const seen = JSON.parse((await ask(url, { headers })).body) as Record<string, string>;
    expect(seen).toMatchObject({
      host: "app.example",
      "x-own": "yes",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "http",
      "x-forwarded-host": "app.example",
    });
    expect(seen["x-secret-hop"]).toBeUndefined();
  });

  test("joins a client that changes the protocol with the machine", async () => {
    const upgrading = await named("plain");
    upgrading.server.on("upgrade", (request, socket) => {
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n\r\n`);
      socket.on("data", (data: Buffer) => socket.write(`echo ${data.toString()}`));
    });
    const { port } = await router.put({ org: "acme", app: "web", targets: [target(upgrading)] });
    const socket = net.connect(port, "127.0.0.1");
    let received = "";
    socket.on("data", (data: Buffer) => (received += data.toString()));
    socket.write("GET /chat HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    await until(() => received.includes("101 Switching Protocols"));
    expect(received).toMatch(/upgrade: websocket/i);
    socket.write("hello");
    await until(() => received.endsWith("echo hello"));
    expect(router.inFlight("127.0.0.1")).toBe(1);
    socket.destroy();
    await until(() => router.inFlight("127.0.0.1") === 0);
  });

  test("has its routes on disk before it answers, and comes back with them on the same ports", async () => {
    const serving = await named("still here");
    const { url, port } = await router.put({ org: "acme", app: "web", targets: [target(serving)] });
    expect(JSON.parse(await readFile(options().stateFile, "utf8"))).toEqual({
      routes: [{ org: "acme", app: "web", port, targets: [target(serving)] }],
    });
    await router.close(0);
    router = await openRouter(options());
    expect((await ask(url)).body).toBe("still here");
    const other = await router.put({ org: "acme", app: "other", targets: [] });
    expect(other.port).not.toBe(port);
  });

  test("is steered over its socket", async () => {
    const socket = path.join(dir, "admin.sock");
    await using admin = await listenAdmin(router, socket);
    expect(admin.server.listening).toBe(true);
    const client = createRouterClient(socket);
    const serving = await named("hello");
    const { url } = await client.putRoute("acme", "web", { targets: [target(serving)] }, signal);
    expect((await ask(url)).body).toBe("hello");
    expect(await client.awaitDrained("acme", "web", "127.0.0.1", { timeoutMs: 1000, signal })).toBe(true);
    expect((await client.listRoutes(signal)).map(({ app, listening }) => [app, listening])).toEqual([["web", true]]);
    await expect(client.putRoute("acme", "../x", { targets: [] }, signal)).rejects.toThrow(/400/);
    await client.deleteRoute("acme", "web", signal);
    await expect(ask(url)).rejects.toThrow(/ECONNREFUSED/);
  });
});

type Ask = { method?: string; body?: string; agent?: http.Agent; headers?: Record<string, string> };

async function ask(url: string, { method = "GET", body, agent, headers = {} }: Ask = {}): Promise<{ status: number; body: string }> {
  return await new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers, signal, ...(agent === undefined ? {} : { agent }) }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (text += part));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: text }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
