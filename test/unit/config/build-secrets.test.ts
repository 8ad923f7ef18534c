import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { openBuildSecrets, sealBuildSecrets } from "../../../config/build-secrets.ts";
import { instancePaths } from "../../../config/paths.ts";
import { ensureHostKey, readHostPublicKey } from "../../../config/sealing/host-key.ts";
import type { Settings } from "../../../config/settings.ts";

const run = "deploy/acme/web/1";
const host = generateKeyPairSync("x25519");
const secrets = new Map([
  ["npm_token", Buffer.from("s3cr3t-value")],
  ["binary", Buffer.from([0, 255, 10])],
]);

test("the host opens what was sealed for it, byte for byte", () => {
  expect(openBuildSecrets(host.privateKey, sealBuildSecrets(host.publicKey, secrets, run), run)).toEqual(secrets);
});

test("neither names nor values show, and the same secrets look different each time", () => {
  const [one, other] = [sealBuildSecrets(host.publicKey, secrets, run), sealBuildSecrets(host.publicKey, secrets, run)];
  expect(one).not.toBe(other);
  const bytes = Buffer.from(one, "base64");
  for (const text of ["s3cr3t-value", "npm_token", Buffer.from("s3cr3t-value").toString("base64")])
    expect(bytes.includes(text)).toBe(false);
});

test("another host, another run and whoever changes a byte open nothing", () => {
  const sealed = sealBuildSecrets(host.publicKey, secrets, run);
  expect(() => openBuildSecrets(generateKeyPairSync("x25519").privateKey, sealed, run)).toThrow();
  expect(() => openBuildSecrets(host.privateKey, sealed, "deploy/acme/evil/1")).toThrow();
  for (const at of [20, 50, 60, 80]) {
    const bytes = Buffer.from(sealed, "base64");
    bytes[at]! ^= 1;
    expect(() => openBuildSecrets(host.privateKey, bytes.toString("base64"), run)).toThrow();
  }
  expect(() => openBuildSecrets(host.privateKey, "", run)).toThrow();
});

test("a name that BuildKit looks for itself is dropped, whoever sealed it", () => {
  const sealed = sealBuildSecrets(host.publicKey, new Map([["HTTP_AUTH_HEADER__api.internal", Buffer.from("x")]]), run);
  expect(openBuildSecrets(host.privateKey, sealed, run).size).toBe(0);
});

test("a host keeps its key, and its owner alone reads it", async () => {
  const settings = { dataDir: await mkdtemp(path.join(tmpdir(), "host-key-")) } as Settings;
  try {
    const made = await Promise.all([ensureHostKey(settings), ensureHostKey(settings)]);
    const keys = [...made, await ensureHostKey(settings)].map((key) => createPublicKey(key).export({ type: "spki", format: "pem" }));
    expect(new Set([...keys, (await readHostPublicKey(settings)).export({ type: "spki", format: "pem" })]).size).toBe(1);
    expect((await stat(instancePaths.hostKey(settings))).mode & 0o777).toBe(0o600);
    expect((await readdir(path.join(settings.dataDir, "sealing"))).toSorted()).toEqual(["host-key.pem", "host-key.pub.pem"]);
  } finally {
    await rm(settings.dataDir, { recursive: true, force: true });
  }
});
