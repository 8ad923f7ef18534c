import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request as httpsRequest } from "node:https";
import { Readable } from "node:stream";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TLSSocket } from "node:tls";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { createRegistryClient } from "../../../../config/registry-client.ts";
import type { Settings } from "../../../../config/settings.ts";
import { digestOf } from "../../../../oci/digest.ts";
import { parseRepository } from "../../../../oci/repository.ts";
import { readTlsPair } from "../../../../config/tls/tls-files.ts";
import { openScratchBucket } from "../scratch-bucket.ts";
import { createRegistryProcess } from "../../../support/registry-process.ts";

const exec = promisify(execFile);
const signal = AbortSignal.timeout(300_000);
let dir: string;
const at = (name: string) => path.join(dir, name);

/** A certificate of a CA of the test's own, for 127.0.0.1. */
async function issue(name: string): Promise<void> {
  await exec("openssl", [
    "req",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-keyout",
    at(`${name}.key`),
    "-out",
    at(`${name}.csr`),
    "-subj",
    `/CN=${name}`,
  ]);
  await writeFile(at("san"), "subjectAltName=IP:127.0.0.1");
  const ca = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial"];
  await exec("openssl", ["x509", "-req", "-in", at(`${name}.csr`), ...ca, "-days", "1", "-extfile", at("san"), "-out", at(`${name}.pem`)]);
}

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "registry-tls-"));
  await exec("openssl", [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-keyout",
    at("ca.key"),
    "-out",
    at("ca.pem"),
    "-days",
    "1",
    "-subj",
    "/CN=test CA",
  ]);
  await issue("first");
  await issue("second");
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const start = (bucket: string, access: Partial<Settings["registry"]>) =>
  createRegistryProcess({
    bucket,
    s3: inject("s3"),
    toolsBinDir: inject("toolsBinDir"),
    amend: (registry) => ({ ...registry, url: registry.url.replace("http:", "https:"), ...access }),
  });

/** The subject of the certificate that a new connection is shown. */
async function servedBy(url: string, options: object = {}): Promise<string> {
  const request = httpsRequest(`${url}/healthz`, { ca: await readFile(at("ca.pem")), agent: false, ...options });
  request.end();
  const [response] = (await once(request, "response")) as [Readable & { socket: TLSSocket }];
  const subject = response.socket.getPeerCertificate().subject.CN as string;
  response.resume();
  return subject;
}

describe("a registry over HTTPS", () => {
  it("serves our clients and others that trust its CA, and takes a renewed certificate while it runs", { timeout: 120_000 }, async () => {
    await using scratch = await openScratchBucket();
    await writeFile(at("live.pem"), await readFile(at("first.pem")));
    await writeFile(at("live.key"), await readFile(at("first.key")));
    const systemToken = randomBytes(32).toString("base64url");
    const tls = { certFile: at("live.pem"), keyFile: at("live.key") };
    await using process = await start(scratch.bucket, { auth: "tokens", systemToken, tls });
    await process.start();
    expect(process.url).toMatch(/^https:/);

    expect(await servedBy(process.url)).toBe("first");
    await expect(servedBy(process.url, { ca: undefined })).rejects.toThrow(/unable to|self-signed|certificate/);
    await expect(servedBy(process.url, { maxVersion: "TLSv1.1", minVersion: "TLSv1.1" })).rejects.toThrow();

    using client = createRegistryClient({ ...process.settings, caBundle: at("ca.pem") });
    const bytes = randomBytes(10_000);
    const repository = parseRepository("acme/web");
    const source = { digest: digestOf(bytes), sizeBytes: bytes.length, open: () => Readable.from([bytes]) };
    await client.pushBlob(repository, source, signal);
    expect(await client.statBlob(repository, source.digest, signal)).toMatchObject({ size: bytes.length });
    const host = new URL(process.url).host;
    const env = { ...globalThis.process.env, DOCKER_CONFIG: dir, SSL_CERT_FILE: at("ca.pem") };
    const crane = (...args: string[]) => exec(path.join(inject("toolsBinDir"), "crane"), args, { env });
    await crane("auth", "login", host, "-u", "slipway", "-p", systemToken);
    const { stdout } = await exec(path.join(inject("toolsBinDir"), "crane"), ["blob", `${host}/acme/web@${source.digest}`], {
      env,
      encoding: "buffer",
    });
    expect(digestOf(stdout)).toBe(source.digest);

    const regctlEnv = { ...env, REGCTL_CONFIG: at("regctl.json") };
    const regctl = (...args: string[]) => exec(path.join(inject("toolsBinDir"), "regctl"), args, { env: regctlEnv });
    const ca = await readFile(at("ca.pem"), "utf8");
    await regctl("registry", "set", host, "--cacert", ca);
    await regctl("registry", "login", host, "-u", "slipway", "-p", systemToken);
    await regctl("blob", "head", `${host}/acme/web`, source.digest);

    // a pair of which only one half has been written yet changes nothing
    await writeFile(at("live.pem"), await readFile(at("second.pem")));
    await expect.poll(() => process.log(), { timeout: 10_000 }).toContain("keeping the old certificate");
    expect(await servedBy(process.url)).toBe("first");
    await writeFile(at("live.key"), await readFile(at("second.key")));
    await expect.poll(() => servedBy(process.url), { timeout: 10_000 }).toBe("second");
    await rm(at("live.pem"));
    await appendFile(at("live.key"), "\n");
    expect(await servedBy(process.url)).toBe("second");
  });

  it("does not start with an address of its own that is not HTTPS", async () => {
    await using scratch = await openScratchBucket();
    const tls = { certFile: at("first.pem"), keyFile: at("first.key") };
    await using process = await start(scratch.bucket, { url: "http://127.0.0.1:1", tls });
    await expect(process.start()).rejects.toThrow("expected one that begins with https:");
  });

  it("does not start with a certificate that cannot be used, and says why", async () => {
    await using scratch = await openScratchBucket();
    await using process = await start(scratch.bucket, { tls: { certFile: at("first.pem"), keyFile: at("second.key") } });
    await expect(process.start()).rejects.toThrow(/Cannot serve HTTPS: the key in .*second.key.* is not that of the first certificate/);
  });
});

describe("a certificate and key", () => {
  it.each([
    ["absent.pem", "first.key", /cannot read registry\.tls\.certFile ".*absent\.pem": ENOENT/],
    ["first.pem", "absent.key", /cannot read registry\.tls\.keyFile ".*absent\.key": ENOENT/],
    ["first.key", "first.key", /certFile ".*first\.key" holds no certificate in PEM/],
    ["first.pem", "first.pem", /keyFile ".*first\.pem" holds no unencrypted private key in PEM/],
    ["first.pem", "second.key", /the key in ".*second\.key" is not that of the first certificate in ".*first\.pem"/],
  ])("%s and %s are refused by name", async (certFile, keyFile, message) => {
    await expect(readTlsPair({ certFile: at(certFile), keyFile: at(keyFile) }, signal)).rejects.toThrow(message);
  });
});
