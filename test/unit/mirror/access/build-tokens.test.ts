import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { SignJWT, UnsecuredJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createBuildTokens, longestLifetimeMs } from "../../../../mirror/access/build-tokens.ts";
import { openTokenKey } from "../../../../mirror/access/token-key.ts";
import { digestOf } from "../../../../oci/digest.ts";

const key = randomBytes(32);
const tokens = createBuildTokens(key);
const nowMs = Date.parse("2026-11-26T12:00:00Z");
const scope = { org: "acme", app: "web" };

/** As the mirror makes them, but for what is given. */
function forge(claims: object = {}, { alg = "HS256", aud = "slipway-mirror", iss = "slipway-mirror", by = key } = {}): Promise<string> {
  const nowS = nowMs / 1000;
  return new SignJWT({ ...scope, iat: nowS, exp: nowS + 60, jti: "a", aud, iss, ...claims })
    .setProtectedHeader({ alg, typ: "JWT" })
    .sign(by);
}

describe("the token of a build", () => {
  it("says what it is good for, to whoever has the key", async () => {
    const { token, expiresAtMs } = await tokens.mint(scope, 60_000, nowMs);
    expect(expiresAtMs).toBe(nowMs + 60_000);
    expect(await tokens.verify(token, nowMs)).toEqual(scope);
    expect(await createBuildTokens(key).verify(token, nowMs + 59_000)).toEqual(scope);
    const blob = digestOf(Buffer.from("source"));
    const two = [blob, digestOf(Buffer.from("other"))];
    const { token: ofTwo } = await tokens.mint({ ...scope, blob: two }, 60_000, nowMs);
    expect(await tokens.verify(ofTwo, nowMs)).toEqual({ ...scope, blob: two });
    const narrow = await tokens.mint({ ...scope, blob }, 60_000, nowMs);
    expect(await tokens.verify(narrow.token, nowMs)).toEqual({ ...scope, blob });
  });

  it("is over at its end, and lives no longer than a build may", async () => {
    const { token, expiresAtMs } = await tokens.mint(scope, Number.MAX_SAFE_INTEGER, nowMs);
    expect(expiresAtMs).toBe(nowMs + longestLifetimeMs);
    expect(await tokens.verify(token, expiresAtMs - 1000)).toEqual(scope);
    expect(await tokens.verify(token, expiresAtMs)).toBeUndefined();
  });

  it("is taken as forged here, when nothing is wrong with it", async () => {
    expect(await tokens.verify(await forge(), nowMs)).toEqual(scope);
  });

  it.each<[string, () => Promise<string> | string]>([
    ["signed by another key", () => forge({}, { by: randomBytes(32) })],
    ["for another audience", () => forge({}, { aud: "slipway-registry" })],
    ["of another issuer", () => forge({}, { iss: "slipway" })],
    ["of another algorithm", () => forge({}, { alg: "HS512", by: key })],
    [
      "without a signature",
      () => new UnsecuredJWT({ ...scope, exp: nowMs, iat: 1, jti: "a", aud: "slipway-mirror", iss: "slipway-mirror" }).encode(),
    ],
    ["without an end", () => forge({ exp: undefined })],
    ["for an org that cannot be", () => forge({ org: "acme/web" })],
    ["for an app that cannot be", () => forge({ app: "../other" })],
    ["for blobs of which one is none", () => forge({ blob: [digestOf(Buffer.from("a")), "sha256:x"] })],
    ["for a blob that is none", () => forge({ blob: "sha256:x" })],
    [
      "changed in its claims",
      async () => (await forge()).replace(/\.[^.]+\./, `.${Buffer.from('{"org":"b","app":"web"}').toString("base64url")}.`),
    ],
    ["cut", async () => (await forge()).slice(0, -4)],
    ["empty", () => ""],
  ])("that is %s is none", async (_what, make) => {
    expect(await tokens.verify(await make(), nowMs)).toBeUndefined();
  });
});

describe("the key of the tokens", () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), "token-key-"));
  });
  afterAll(() => rm(dir, { recursive: true }));

  it("is made once, for its owner alone, and is the same after a restart", async () => {
    const file = path.join(dir, "key");
    const made = await openTokenKey(file);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(Buffer.from(await openTokenKey(file)).equals(made)).toBe(true);
    await chmod(file, 0o640);
    await expect(openTokenKey(file)).rejects.toThrow("others may read it (mode 640, expected 600)");
  });

  it("is not taken when it is too short", async () => {
    const file = path.join(dir, "short");
    await writeFile(file, "", { mode: 0o600 });
    await expect(openTokenKey(file)).rejects.toThrow("it has 0 bytes, expected 32");
  });
});
