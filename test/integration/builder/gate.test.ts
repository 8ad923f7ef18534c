import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { type IncomingMessage, request } from "node:http";
import type { Socket } from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { type Builders, createBuilders } from "../../../builder/builders.ts";
import { openGate } from "../../../builder/gate/gate.ts";
import { openGateTunnel } from "../../../cli/builder/gate-client.ts";
import { gatePath, tunnelProtocol } from "../../../config/builder-gate.ts";
import type { Settings } from "../../../config/settings.ts";
import { anyFreePort } from "../../../stack/free-port.ts";
import { openBuilderAccess } from "../../../workers/builder-gate.ts";
import { makeSelfSigned } from "../../support/self-signed.ts";
import { type CliResult, slipway, startSlipway } from "../../support/slipway.ts";
import { type MachineLab, openMachineLab } from "../machines/support/lab.ts";
import { type GuardedRegistry, openGuardedRegistry } from "../registry/auth/guarded-registry.ts";
import { type StandIn, openStandIn } from "./stand-in.ts";

const exec = promisify(execFile);
const signal = AbortSignal.timeout(240_000);
const log = { info: () => undefined, error: () => undefined };
const kill = { signal: "SIGKILL", timeoutMs: 0 } as const;

let lab: MachineLab;
let registry: GuardedRegistry;
let mirror: StandIn;
let settings: Settings;
let org: string;
let rival: string;
let builders: Builders;
/** may push in the whole org */
let token: string;
const stack = new AsyncDisposableStack();

beforeAll(async () => {
  lab = stack.use(
    await openMachineLab({
      containerdSocket: inject("containerdSocket"),
      toolsBinDir: inject("toolsBinDir"),
      toolsShareDir: inject("toolsShareDir"),
    }),
  );
  [org, rival] = lab.orgs;
  registry = stack.use(await openGuardedRegistry());
  const { url, systemToken } = registry;
  settings = { ...lab.settings, registry: { ...lab.settings.registry, url, systemToken } };
  stack.defer(() => lab.machines.remove(org, "builder", kill, signal));
  builders = stack.use(await openBuilders(60_000));
  token = await tokenFor({ org, actions: ["pull", "push"] });
  const network = await lab.machines.ensureNetwork(org, signal);
  mirror = stack.use(await openStandIn(network.gatewayIpv4, settings.mirror.port));
});
afterAll(() => stack.disposeAsync());

type OpenBuilders = Builders & { readonly gateUrl: string };

/** The builders of a host worker, and their gate on a port of its own. */
async function openBuilders(idleTimeoutMs: number, tls?: { certFile: string; keyFile: string }): Promise<OpenBuilders> {
  const gate = { listen: { host: "127.0.0.1", port: await anyFreePort() }, ...(tls === undefined ? {} : { tls }) };
  const own: Settings = { ...settings, builder: { ...settings.builder, idleTimeoutMs, gate } };
  const made = createBuilders({ ...lab, settings: own });
  const access = openBuilderAccess(own);
  const ensureOrg = async (name: string) => void (await lab.machines.ensureNetwork(name, signal));
  const opened = await openGate({ ...lab, builders: made, settings: own, access: access.access, ensureOrg }, { log, signal });
  return {
    ...made,
    gateUrl: `${tls === undefined ? "http" : "https"}://127.0.0.1:${gate.listen.port}`,
    [Symbol.asyncDispose]: async () => {
      await opened?.[Symbol.asyncDispose]();
      access[Symbol.dispose]();
      await made[Symbol.asyncDispose]();
    },
  };
}

type TokenFields = Parameters<GuardedRegistry["deployToken"]>[0];
const tokenFor = async (fields: TokenFields) => (await registry.deployToken(fields)).password;
const gateUrl = () => (builders as OpenBuilders).gateUrl;
const tunnelTo = (url: string, password = token) =>
  openGateTunnel({ url: new URL(url), org, login: { username: "token", password } }, signal);
const stateOf = async (of: Builders = builders) => await of.status(org, signal);

/** The status that a request ends with that may become a tunnel. */
async function statusOf(gate: string, headers: Record<string, string>, of = org): Promise<{ status: number; body: string }> {
  const upgrade = { connection: "Upgrade", upgrade: tunnelProtocol.name };
  const asked = request(`${gate}${tunnelProtocol.path(of)}`, { agent: false, headers: { ...upgrade, ...headers } }).end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  return { status: answer.statusCode!, body: await text(answer) };
}
const asUser = (password: string, username = "token") => ({
  authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`,
});

/** Whether buildkitd is at the other end: it speaks HTTP/2, and says so with its SETTINGS. */
async function answers(tunnel: Socket): Promise<boolean> {
  tunnel.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1");
  const [first] = (await once(tunnel, "data")) as [Buffer];
  return first[3] === 4;
}

/** The CLI as on a machine that has no instance, nor settings. */
const away = (...args: string[]): Promise<CliResult> =>
  slipway("/nonexistent", [...args, "--org", org], { env: { SLIPWAY_GATE: gateUrl(), SLIPWAY_TOKEN: token } });
const jsonOf = (result: CliResult) => {
  expect(result.code, result.stderr).toBe(0);
  return JSON.parse(result.stdout) as Record<string, unknown>;
};

describe("the gate", () => {
  it("lets nobody through who may not push in all of the org, and wakes nothing for them", async () => {
    // of its own, as so many wrong tokens are counted
    await using guarded = await openBuilders(60_000);
    const gate = guarded.gateUrl;
    const refused: Record<string, [Record<string, string>, number]> = {
      "no credential": [{}, 401],
      "a wrong token": [asUser(`slipway_${"0".repeat(16)}_${"x".repeat(43)}`), 401],
      "something else": [asUser("eyJhbGciOiJIUzI1NiJ9.e30.x"), 401],
      "a bearer": [{ authorization: `Bearer ${token}` }, 401],
      "a user who is called as the operator": [asUser("x".repeat(60), "slipway"), 401],
      "a reader of the org": [asUser(await tokenFor({ org, actions: ["pull"] })), 403],
      "who may push one app": [asUser(await tokenFor({ org, app: "web", actions: ["pull", "push"] })), 403],
      "who may push in another org": [asUser(await tokenFor({ org: rival, actions: ["pull", "push"] })), 403],
    };
    for (const [who, [headers, status]] of Object.entries(refused)) {
      expect([who, (await statusOf(gate, headers)).status]).toEqual([who, status]);
      for (const [method, below] of [
        ["GET", ""],
        ["POST", "/recreate"],
      ] as const) {
        const answer = await fetch(`${gate}${gatePath(org)}${below}`, { method, headers });
        expect([who, method, below, answer.status]).toEqual([who, method, below, status]);
      }
    }
    expect((await statusOf(gate, asUser(token), rival)).status).toBe(403);
    expect((await statusOf(gate, asUser(token), "..%2f..")).status).toBe(404);
    expect(await stateOf(guarded)).toMatchObject({ state: "absent", uses: 0 });
  });

  it("wakes the builder for the first connection, and lets the operator in as well", async () => {
    const tunnel = await tunnelTo(gateUrl());
    expect(await answers(tunnel)).toBe(true);
    const operators = await openGateTunnel(
      { url: new URL(gateUrl()), org, login: { username: "slipway", password: registry.systemToken } },
      signal,
    );
    expect(await answers(operators)).toBe(true);
    expect(await stateOf()).toMatchObject({ uses: 2 });
    tunnel.destroy();
    operators.destroy();
    await expect.poll(async () => (await stateOf()).uses, { timeout: 20_000 }).toBe(0);
  });

  it("keeps the builder awake while a connection is open, and lets it sleep after the last one", async () => {
    await using brief = await openBuilders(200);
    const tunnel = await tunnelTo(brief.gateUrl);
    expect(await brief.sleep(org, signal)).toBe(false);
    // five times the idle time-out: a timer that was not disarmed has fired
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(await answers(tunnel)).toBe(true);
    expect((await stateOf(brief)).uses).toBe(1);
    tunnel.destroy();
    await expect.poll(async () => (await lab.machines.inspect(org, "builder", signal))?.state, { timeout: 20_000 }).not.toBe("running");
  });

  it("ends a connection whose builder was killed, and the next one wakes a builder", async () => {
    const tunnel = await tunnelTo(gateUrl());
    expect(await answers(tunnel)).toBe(true);
    const ended = once(tunnel.resume(), "close");
    const { pid } = (await lab.machines.inspect(org, "builder", signal))!;
    process.kill(pid!, "SIGKILL");
    await ended;
    const next = await tunnelTo(gateUrl());
    expect(await answers(next)).toBe(true);
    next.destroy();
  });

  it("gives back what a client held that left while the builder was waking", async () => {
    await builders.sleep(org, signal);
    const leaving = new AbortController();
    const opening = openGateTunnel({ url: new URL(gateUrl()), org, login: { username: "token", password: token } }, leaving.signal);
    await expect.poll(async () => (await stateOf()).uses, { timeout: 20_000, interval: 1 }).toBe(1);
    leaving.abort();
    await expect(opening).rejects.toThrow();
    await expect.poll(async () => (await stateOf()).uses, { timeout: 20_000 }).toBe(0);
  });

  it("speaks TLS, and listens for other machines in no other way", async () => {
    const [certFile, keyFile] = [path.join(settings.dataDir, "gate.pem"), path.join(settings.dataDir, "gate.key")];
    await makeSelfSigned({ certFile, keyFile });
    await using secure = await openBuilders(60_000, { certFile, keyFile });
    const ask = (env: Record<string, string>) =>
      slipway("/nonexistent", ["builder", "status", "--org", org], { env: { SLIPWAY_GATE: secure.gateUrl, SLIPWAY_TOKEN: token, ...env } });
    expect(await ask({ NODE_EXTRA_CA_CERTS: certFile })).toMatchObject({ code: 0 });
    expect(await ask({ NODE_EXTRA_CA_CERTS: "" })).toMatchObject({ code: 10, stderr: expect.stringContaining("certificate") as string });
    const ca = await readFile(certFile, "utf8");
    const tunnel = await openGateTunnel({ url: new URL(secure.gateUrl), org, login: { username: "token", password: token }, ca }, signal);
    expect(await answers(tunnel)).toBe(true);
    tunnel.destroy();

    const open = { ...settings, builder: { ...settings.builder, gate: { listen: { host: "0.0.0.0", port: await anyFreePort() } } } };
    const deps = { ...lab, builders, settings: open, access: async () => "unknown" as const, ensureOrg: async () => undefined };
    await expect(openGate(deps, { log, signal })).rejects.toThrow("tokens would travel unencrypted; set builder.gate.tls");
  });
});

describe("slipway proxy builder", () => {
  const context = () => path.join(settings.dataDir, "context");
  const buildctl = (address: string, tag: string) => {
    const output = `type=image,name=${settings.registry.imageHost}/${org}/web:${tag},push=true`;
    const line = `--addr ${address} build --progress plain --frontend dockerfile.v0 --local context=${context()} --local dockerfile=${context()} --output ${output}`;
    return exec(path.join(inject("toolsBinDir"), "buildctl"), line.split(" "));
  };

  beforeAll(async () => {
    await mkdir(context());
    await writeFile(path.join(context(), "Dockerfile"), "FROM scratch\nCOPY page /page\n");
    await writeFile(path.join(context(), "page"), "x".repeat(100_000));
  });

  it("takes stock buildctl to the builder, over a socket that only its owner may open, until it is interrupted", async () => {
    const socket = path.join(settings.dataDir, "b.sock");
    const env = { SLIPWAY_GATE: gateUrl(), SLIPWAY_TOKEN: token };
    const proxy = startSlipway("/nonexistent", ["proxy", "builder", "--org", org, "--listen", `unix:${socket}`], { env });
    await expect.poll(() => proxy.stderr(), { timeout: 20_000 }).toContain(`buildctl --addr unix://${socket}`);
    expect((await stat(socket)).mode & 0o777).toBe(0o600);
    await buildctl(`unix://${socket}`, "first");
    expect(mirror.pushed.has("first")).toBe(true);

    // a second one does not take the place of the first
    const second = await slipway("/nonexistent", ["proxy", "builder", "--org", org, "--listen", `unix:${socket}`], { env });
    expect(second).toMatchObject({ code: 2, stderr: expect.stringContaining(`Cannot listen on "${socket}"`) as string });
    proxy.kill("SIGINT");
    expect(await proxy.finished).toMatchObject({ code: 0, stdout: `unix://${socket}\n` });
    await expect.poll(async () => (await stateOf()).uses, { timeout: 20_000 }).toBe(0);
  });

  it("listens on TCP when asked to, and says with which token it does not", async () => {
    const env = { SLIPWAY_GATE: gateUrl(), SLIPWAY_TOKEN: token };
    const proxy = startSlipway("/nonexistent", ["proxy", "builder", "--org", org, "--listen", "tcp"], { env });
    await expect.poll(() => proxy.stderr(), { timeout: 20_000 }).toMatch(/buildctl --addr tcp:\/\/127\.0\.0\.1:\d+ /);
    const { stderr } = await buildctl(/tcp:\S+/.exec(proxy.stderr())![0], "second");
    expect(stderr).toContain("CACHED");
    expect(mirror.pushed.has("second")).toBe(true);
    proxy.kill("SIGTERM");
    expect((await proxy.finished).code).toBe(0);

    const rivals = await tokenFor({ org: rival, actions: ["pull", "push"] });
    const refused = await slipway("/nonexistent", ["proxy", "builder", "--org", org, "--listen", "tcp"], {
      env: { ...env, SLIPWAY_TOKEN: rivals },
    });
    expect(refused).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringContaining(`may not push in the whole org "${org}"`) as string,
    });
  });
});

describe("slipway builder", () => {
  type Status = {
    state: string;
    since: string;
    uses: number;
    version: string;
    problem?: string;
    cache: { size_bytes: number; max_bytes: number; records: number };
  };
  const status = async () => jsonOf(await away("builder", "status", "-o", "json")) as unknown as Status;

  it("shows what buildkitd says of itself, and its log", async () => {
    const found = await status();
    expect(found).toMatchObject({ schema_version: 1, org, host: "lab", state: "running", uses: 0, limits: { memory_mb: 512, cpus: 1 } });
    expect(found.version).toMatch(/^v\d/);
    expect(found.cache.size_bytes).toBeGreaterThan(100_000);
    expect(found.cache.max_bytes).toBeGreaterThan(1024 ** 3);
    expect(Date.parse(found.since)).toBeGreaterThan(Date.now() - 600_000);
    expect((await away("builder", "logs", "-n", "50")).stdout).toMatch(/running server on/);
    expect((await away("builder", "status")).stdout).toMatch(/^org .*\nhost .*\nstate +running for \d+[sm]\n/);
  });

  it("does not stop or replace one that is used, unless forced; and what it replaces keeps its cache", async () => {
    const tunnel = await tunnelTo(gateUrl());
    const ended = once(tunnel.resume(), "close");
    for (const command of ["stop", "recreate"]) {
      expect(await away("builder", command)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(`The builder of "${org}" is in use by 1 builds or connections`) as string,
      });
    }
    const before = (await lab.machines.inspect(org, "builder", signal))?.pid;
    const { cache } = await status();
    expect(jsonOf(await away("builder", "recreate", "--force", "-o", "json"))).toMatchObject({ org, cache: "kept" });
    await ended;
    expect((await lab.machines.inspect(org, "builder", signal))?.pid).not.toBe(before);
    expect((await status()).cache.records).toBe(cache.records);
  });

  it("stops and starts, and knows of the cache of one that is stopped", async () => {
    await expect.poll(async () => (await stateOf()).uses, { timeout: 20_000 }).toBe(0);
    expect((await away("builder", "stop")).stdout).toBe(`The builder of "${org}" is stopped; its cache is kept\n`);
    const stopped = await status();
    expect(stopped).toMatchObject({ state: "stopped", uses: 0 });
    expect(stopped.version).toMatch(/^v\d/);
    expect(stopped.cache.size_bytes).toBeGreaterThan(100_000);
    expect(jsonOf(await away("builder", "start", "-o", "json"))).toMatchObject({ woken_from: "stopped" });
    expect((await away("builder", "start")).stdout).toMatch(/ran already/);
  });

  it("prunes by BuildKit's own rules, and says how much went", async () => {
    expect(jsonOf(await away("builder", "prune", "--keep-for", "24h", "-o", "json"))).toMatchObject({ records: 0, freed_bytes: 0 });
    const pruned = jsonOf(await away("builder", "prune", "-o", "json")) as { records: number; freed_bytes: number };
    expect(pruned.freed_bytes).toBeGreaterThan(100_000);
    expect(pruned.records).toBeGreaterThan(0);
    expect((await status()).cache.size_bytes).toBeLessThan(100_000);
    expect((await away("builder", "prune", "--keep", "much")).code).toBe(2);
  });

  it("drops the cache only when it was told so twice", async () => {
    expect(await away("builder", "recreate", "--drop-cache")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("Cannot ask whether to drop the cache: this is no terminal; nothing was done") as string,
    });
    expect(jsonOf(await away("builder", "recreate", "--drop-cache", "-y", "-o", "json"))).toMatchObject({ cache: "dropped" });
    expect((await status()).cache).toMatchObject({ records: 0, size_bytes: 0 });
  });
});
