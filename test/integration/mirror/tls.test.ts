import { X509Certificate, createPrivateKey } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { type Server, createServer } from "node:http";
import { type AddressInfo, type Socket, connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { type ConnectionOptions, type TLSSocket, connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { instancePaths, orgNamespace } from "../../../config/paths.ts";
import type { Settings } from "../../../config/settings.ts";
import type { TlsPair } from "../../../config/tls/tls-files.ts";
import { speakBoth } from "../../../mirror/serve/both-protocols.ts";
import { certificatesFromFiles, issuedCertificates } from "../../../mirror/tls/certificates.ts";
import { type CaScope, openLocalCa } from "../../../mirror/tls/local-ca.ts";
import { loopbackAddress, orgName } from "../../support/mirror-harness.ts";
import { createMirrorProcess } from "../../support/mirror-process.ts";
import { openScratchNamespace } from "../../support/scratch-namespace.ts";

const signal = AbortSignal.timeout(120_000);
const scope: CaScope = {
  instance: "0123abcd",
  names: ["registry.slipway.test", "_api.internal"],
  networks: ["127.0.0.0/8", "fd00:99::/48"],
};
const log = { info: () => undefined, error: () => undefined };
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "mirror-tls-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** What a client sees that trusts `ca` alone and asks for `servername`. */
async function handshake(port: number, ca: string | Buffer, servername: string, more: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connectTls({ host: "127.0.0.1", port, ca, servername, ...more });
  await once(socket, "secureConnect");
  return socket;
}

/** A server that speaks both and answers with the protocol it was reached by. */
async function openBoth(pair: () => Promise<TlsPair>, timeoutMs = 10_000): Promise<AsyncDisposable & { port: number; server: Server }> {
  const server = createServer((request, response) => {
    response.end((request.socket as Partial<TLSSocket>).encrypted === true ? "https" : "http");
  });
  const both = speakBoth(server, { pair, timeoutMs, onError: () => undefined });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    server,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      both[Symbol.dispose]();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

async function textOf(socket: Socket): Promise<string> {
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
}

const request = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const connections = (server: Server) =>
  new Promise<number>((resolve, reject) => server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))));

describe("the mirror's own CA", () => {
  it("stays the same over restarts, keeps its key to itself, and is another one when its scope is", async () => {
    const folder = path.join(dir, "stays");
    const first = await openLocalCa(folder, scope, signal);
    const cert = await readFile(first.certFile, "utf8");
    expect((await stat(path.join(folder, "ca.key"))).mode & 0o777).toBe(0o600);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    await openLocalCa(folder, scope, signal);
    expect(await readFile(first.certFile, "utf8")).toBe(cert);
    await openLocalCa(folder, { ...scope, names: ["registry.other.test"] }, signal);
    expect(await readFile(first.certFile, "utf8")).not.toBe(cert);
    expect((await readdir(folder)).toSorted()).toEqual(["ca.key", "ca.pem"]);
  });

  it("is made anew when a start was killed between its key and its certificate", async () => {
    const folder = path.join(dir, "torn");
    const ca = await openLocalCa(folder, scope, signal);
    const other = await openLocalCa(path.join(dir, "other"), scope, signal);
    await writeFile(path.join(folder, "ca.key"), await readFile(path.join(path.dirname(other.certFile), "ca.key")));
    await openLocalCa(folder, scope, signal);
    const certificate = new X509Certificate(await readFile(ca.certFile));
    expect(certificate.checkPrivateKey(createPrivateKey(await readFile(path.join(folder, "ca.key"))))).toBe(true);
  });

  it("is good for the names in its scope alone, whatever is signed with its key", async () => {
    const ca = await openLocalCa(path.join(dir, "scope"), scope, signal);
    const trusted = await readFile(ca.certFile);
    const good = await ca.issue([...scope.names, "127.0.0.1"], 90, signal);
    await using ours = await openBoth(async () => good);
    for (const name of scope.names) (await handshake(ours.port, trusted, name)).destroy();
    (await handshake(ours.port, trusted, "", { servername: undefined as never })).destroy();

    const stolen = await ca.issue(["registry.slipway.test", "bank.example"], 90, signal);
    await using theirs = await openBoth(async () => stolen);
    await expect(handshake(theirs.port, trusted, "bank.example")).rejects.toThrow(/permitted subtree violation/);
  });
});

describe("issued certificates", () => {
  it("are kept until little is left, then renewed for whoever comes next, and kept on when that fails", async () => {
    const ca = await openLocalCa(path.join(dir, "renewed"), scope, signal);
    let nowMs = Date.now();
    let broken = false;
    const failing = {
      ...ca,
      issue: async (...args: Parameters<typeof ca.issue>) => {
        if (broken) throw new Error("no openssl");
        return await ca.issue(...args);
      },
    };
    const certificates = issuedCertificates(failing, scope.names, log, () => nowMs);
    const [first, same] = await Promise.all([certificates.pairFor("127.0.0.1"), certificates.pairFor("127.0.0.1")]);
    expect(same).toBe(first);
    expect(new X509Certificate(first.cert).checkIP("127.0.0.1")).toBe("127.0.0.1");
    const days = 24 * 3_600_000;
    nowMs += 59 * days;
    expect(await certificates.pairFor("127.0.0.1")).toBe(first);
    nowMs += 2 * days;
    broken = true;
    expect(await certificates.pairFor("127.0.0.1")).toBe(first);
    nowMs += 120_000;
    broken = false;
    const second = await certificates.pairFor("127.0.0.1");
    expect(second).not.toBe(first);

    let shown = first;
    await using both = await openBoth(async () => shown);
    const serial = async () => {
      const socket = await handshake(both.port, await readFile(ca.certFile), "registry.slipway.test");
      const { serialNumber } = socket.getPeerX509Certificate()!;
      socket.destroy();
      return serialNumber;
    };
    expect(await serial()).toBe(new X509Certificate(first.cert).serialNumber);
    shown = second;
    expect(await serial()).toBe(new X509Certificate(second.cert).serialNumber);
  });

  it("can be the operator's own, read anew when their files change", async () => {
    const ca = await openLocalCa(path.join(dir, "operator"), scope, signal);
    const files = { certFile: path.join(dir, "own.pem"), keyFile: path.join(dir, "own.key"), setting: "mirror.tls" };
    const write = async ({ cert, key }: TlsPair) => {
      await writeFile(files.keyFile, key);
      await writeFile(files.certFile, cert);
    };
    await expect(certificatesFromFiles(files, log, signal)).rejects.toThrow(/cannot read mirror\.tls\.certFile ".*own\.pem"/);
    await write(await ca.issue(["registry.slipway.test"], 90, signal));
    const stopping = new AbortController();
    const certificates = await certificatesFromFiles(files, log, stopping.signal);
    const before = await certificates.pairFor("127.0.0.1");
    await write(await ca.issue(["registry.slipway.test"], 90, signal));
    await expect.poll(() => certificates.pairFor("127.0.0.1"), { timeout: 15_000 }).not.toBe(before);
    stopping.abort();
  });
});

describe("a port that speaks HTTP and HTTPS", () => {
  it("tells them by the first byte, however slowly the others come", async () => {
    const ca = await openLocalCa(path.join(dir, "both"), scope, signal);
    const pair = await ca.issue(["registry.slipway.test"], 90, signal);
    await using both = await openBoth(async () => pair);
    const secure = await handshake(both.port, await readFile(ca.certFile), "registry.slipway.test", { ALPNProtocols: ["h2", "http/1.1"] });
    expect(secure.alpnProtocol).toBe("http/1.1");
    secure.write(request);
    expect(await textOf(secure)).toContain("\r\n\r\nhttps");

    const plain = connect(both.port, "127.0.0.1").setNoDelay();
    for (const character of request) {
      plain.write(character);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await textOf(plain)).toContain("\r\n\r\nhttp");
  });

  it("lets go of who says nothing, begins no handshake after its first byte, or goes away before", async () => {
    const ca = await openLocalCa(path.join(dir, "silent"), scope, signal);
    const pair = await ca.issue(["registry.slipway.test"], 90, signal);
    await using both = await openBoth(async () => pair, 200);
    const open = () =>
      connect(both.port, "127.0.0.1")
        .on("error", () => undefined)
        .resume();
    const [silent, stuck, gone] = [open(), open(), open()];
    const closed = Promise.all([silent, stuck, gone].map((socket) => once(socket, "close")));
    stuck.write(Buffer.from([0x16]));
    gone.once("connect", () => gone.end());
    await closed;
    await expect.poll(() => connections(both.server)).toBe(0);
  });

  it("cuts off who has not said what it speaks when it ends", async () => {
    const both = await openBoth(() => Promise.reject(new Error("not asked")));
    const silent = connect(both.port, "127.0.0.1").on("error", () => undefined);
    await expect.poll(() => connections(both.server)).toBe(1);
    await both[Symbol.asyncDispose]();
    await once(silent.resume(), "close");
  });
});

describe("the process mirror", () => {
  it("serves the operator's certificate, and makes no CA then", async () => {
    const ca = await openLocalCa(path.join(dir, "process"), scope, signal);
    const tls = { certFile: path.join(dir, "live.pem"), keyFile: path.join(dir, "live.key") };
    const { cert, key } = await ca.issue(["registry.slipway.test"], 90, signal);
    await writeFile(tls.certFile, cert);
    await writeFile(tls.keyFile, key);
    const settings = (of: Settings) => ({ ...of, mirror: { ...of.mirror, tls } });
    await using mirror = await createMirrorProcess(inject("containerdSocket"), settings);
    await mirror.start();
    const address = loopbackAddress();
    const org = orgName("operators");
    await using _scratch = await openScratchNamespace(inject("containerdSocket"), orgNamespace(org));
    await mirror.admin.putOrg(org, [address], signal);
    const socket = await handshake(mirror.settings.mirror.port, await readFile(ca.certFile), "registry.slipway.test", { host: address });
    socket.write(request.replace("GET /", "GET /v2/"));
    expect(await textOf(socket)).toContain("HTTP/1.1 200");
    await expect(stat(instancePaths.mirrorCa(mirror.settings))).rejects.toThrow("ENOENT");
    expect(await mirror.stop("SIGTERM")).toBe(0);
  });
});
