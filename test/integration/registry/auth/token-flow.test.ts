import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeJwt, decodeProtectedHeader, exportJWK } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDistributionClient } from "../../../../oci/distribution-client.ts";
import { digestOf } from "../../../../oci/digest.ts";
import { parseRepository } from "../../../../oci/repository.ts";
import { createDeployTokens } from "../../../../registry/auth/deploy-tokens.ts";
import { createSigningKeys } from "../../../../registry/auth/signing-keys.ts";
import { type GuardedRegistry, openGuardedRegistry } from "./guarded-registry.ts";

const signal = AbortSignal.timeout(300_000);
let registry: GuardedRegistry;

beforeAll(async () => {
  registry = await openGuardedRegistry();
});
afterAll(() => registry[Symbol.asyncDispose]());

type TokenAnswer = { token: string; access_token: string; expires_in: number; issued_at: string };
type Claims = { access: unknown[]; iss: string; aud: string; sub: string; jti: string; nbf: number; iat: number; exp: number };

describe("the challenge", () => {
  it.each([
    ["GET", "/v2/", undefined],
    ["GET", "/v2/acme/web/manifests/v1", "repository:acme/web:pull"],
    ["HEAD", `/v2/acme/web/blobs/${digestOf("x")}`, "repository:acme/web:pull"],
    ["GET", "/v2/acme/web/tags/list", "repository:acme/web:pull"],
    ["POST", "/v2/acme/web/blobs/uploads/", "repository:acme/web:pull,push"],
    ["PATCH", "/v2/acme/web/blobs/uploads/abc", "repository:acme/web:pull,push"],
    ["DELETE", "/v2/acme/web/blobs/uploads/abc", "repository:acme/web:pull,push"],
    ["PUT", "/v2/acme/web/manifests/v1", "repository:acme/web:pull,push"],
    [
      "POST",
      `/v2/acme/web/blobs/uploads/?mount=${digestOf("x")}&from=acme/base`,
      "repository:acme/web:pull,push repository:acme/base:pull",
    ],
    ["GET", "/v2/_catalog", undefined],
    ["GET", "/v2/..%2f/manifests/v1", undefined],
  ])("of %s %s names what a token must be good for", async (method, path, scope) => {
    const answer = await registry.send(method, path);
    expect(answer.status).toBe(401);
    const expected = `Bearer realm="${registry.url}/token",service="slipway-registry"`;
    expect(answer.headers["www-authenticate"]).toBe(scope === undefined ? expected : `${expected},scope="${scope}"`);
    expect(answer.headers["docker-distribution-api-version"]).toBe("registry/2.0");
    if (method !== "HEAD") expect(answer.text).toBe('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
  });

  it("is not asked of a look at the process's health", async () => {
    expect((await registry.send("GET", "/healthz")).status).toBe(200);
    expect((await registry.send("GET", "/readyz")).status).toBe(200);
  });
});

describe("/token", () => {
  it("answers a short-lived token for what was asked, as far as it is granted", async () => {
    const { id, password } = await registry.deployToken({ app: "web", actions: ["pull", "push"] });
    const query =
      "service=slipway-registry&scope=repository:acme/web:pull,delete&scope=repository:acme/api:pull&scope=repository:other/web:pull";
    const answer = await registry.askToken(password, query);
    expect([answer.status, answer.headers["cache-control"]]).toEqual([200, "no-store"]);
    const { token, access_token, expires_in, issued_at } = JSON.parse(answer.text) as TokenAnswer;
    expect(access_token).toBe(token);
    expect(expires_in).toBeLessThanOrEqual(300);
    const { access, iss, aud, sub, jti, nbf, iat, exp } = decodeJwt<Claims>(token);
    expect(access).toEqual([{ type: "repository", name: "acme/web", actions: ["pull"] }]);
    expect({ iss, aud, sub, nbf }).toEqual({ iss: "slipway", aud: "slipway-registry", sub: id, nbf: iat });
    expect(exp! - iat!).toBe(expires_in);
    expect(new Date(issued_at).getTime()).toBe(iat! * 1000);
    expect(jti).toMatch(/^[0-9a-f-]{36}$/);
    expect(decodeProtectedHeader(token)).toEqual({ alg: "EdDSA", kid: "0000000001", typ: "JWT" });
  });

  it("answers a token that is good for nothing but /v2/ when nothing of what was asked is granted", async () => {
    const { password } = await registry.deployToken({});
    const bearer = await registry.bearer(password, "repository:other/web:pull");
    expect((await registry.send("GET", "/v2/", bearer)).status).toBe(200);
    const { status, headers } = await registry.send("GET", "/v2/other/web/tags/list", bearer);
    expect(status).toBe(401);
    expect(headers["www-authenticate"]).toContain(',scope="repository:other/web:pull",error="insufficient_scope"');
  });

  it("takes a password as OAuth2 has it, several scopes to a parameter", async () => {
    const { password } = await registry.deployToken({ actions: ["pull"] });
    const form = new URLSearchParams({
      grant_type: "password",
      username: "ci",
      password,
      client_id: "containerd",
      service: "slipway-registry",
    });
    form.set("scope", "repository:acme/web:pull repository:acme/api:pull,push");
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const { status, text } = await registry.send("POST", "/token", headers, form.toString());
    expect(status).toBe(200);
    expect(decodeJwt<Claims>((JSON.parse(text) as TokenAnswer).access_token).access).toEqual([
      { type: "repository", name: "acme/web", actions: ["pull"] },
      { type: "repository", name: "acme/api", actions: ["pull"] },
    ]);
    for (const [grant, error] of [
      ["refresh_token", "unsupported_grant_type"],
      ["", "unsupported_grant_type"],
    ]) {
      form.set("grant_type", grant!);
      const refused = await registry.send("POST", "/token", headers, form.toString());
      expect([refused.status, (JSON.parse(refused.text) as { error: string }).error]).toEqual([400, error]);
    }
  });

  it("does not outlive a deploy token that expires", async () => {
    const { password } = await registry.deployToken({ expiresAtMs: Date.now() + 20_000 });
    const { text } = await registry.askToken(password, "scope=repository:acme/web:pull");
    expect((JSON.parse(text) as TokenAnswer).expires_in).toBeLessThanOrEqual(20);
  });

  it("counts wrong passwords by address and then answers 429, but lets in whom it knows", async () => {
    await using other = await openGuardedRegistry();
    const { password } = await other.deployToken({});
    expect((await other.askToken(password, "")).status).toBe(200);
    const statuses = [];
    for (let attempt = 0; attempt < 25; attempt += 1) statuses.push((await other.askToken(`guess-${attempt}`, "")).status);
    expect(statuses).toEqual([...Array<number>(20).fill(401), ...Array<number>(5).fill(429)]);
    const limited = await other.askToken((await other.deployToken({})).password, "");
    expect([limited.status, Number(limited.headers["retry-after"]) > 0]).toEqual([429, true]);
    expect((await other.askToken(password, "")).status).toBe(200);
    expect((await other.askToken(other.systemToken, "", "slipway")).status).toBe(200);
  });
});

describe("a client with a deploy token", () => {
  it("pushes and pulls within its scope, through the flow that all clients speak", async () => {
    const { password } = await registry.deployToken({ app: "web", actions: ["pull", "push"] });
    using client = createDistributionClient({ baseUrl: registry.url, credentials: { username: "ci", password } });
    const bytes = randomBytes(100_000);
    const repository = parseRepository("acme/web");
    const source = { digest: digestOf(bytes), sizeBytes: bytes.length, open: () => Readable.from([bytes]) };
    await client.pushBlob(repository, source, signal);
    const content = await client.readBlob(repository, source.digest, undefined, signal);
    expect(Buffer.concat(await content!.body.toArray()).equals(bytes)).toBe(true);
    await expect(client.pushBlob(parseRepository("acme/api"), source, signal)).rejects.toMatchObject({ status: 401 });
    await expect(client.statBlob(parseRepository("other/web"), source.digest, signal)).rejects.toMatchObject({ status: 401 });
  });

  it("mounts from where it may pull; from elsewhere it is offered an upload, whether or not the blob is there", async () => {
    const system = await registry.bearer(registry.systemToken, "repository:acme/base:pull,push", "repository:other/secret:pull,push");
    const bytes = randomBytes(2000);
    const digest = digestOf(bytes);
    for (const name of ["acme/base", "other/secret"]) {
      const pushed = await registry.send("POST", `/v2/${name}/blobs/uploads/?digest=${digest}`, system, bytes);
      expect(pushed.status).toBe(201);
    }
    const { password } = await registry.deployToken({ actions: ["pull", "push"] });
    const bearer = await registry.bearer(
      password,
      "repository:acme/new:pull,push",
      "repository:acme/base:pull",
      "repository:other/secret:pull",
    );
    const mount = (from: string, what = digest) => registry.send("POST", `/v2/acme/new/blobs/uploads/?mount=${what}&from=${from}`, bearer);
    expect((await mount("other/secret")).status).toBe(202);
    expect((await mount("other/secret", digestOf("absent"))).status).toBe(202);
    expect((await registry.send("HEAD", `/v2/acme/new/blobs/${digest}`, bearer)).status).toBe(404);
    expect((await mount("acme/base")).status).toBe(201);
    expect((await registry.send("HEAD", `/v2/acme/new/blobs/${digest}`, bearer)).status).toBe(200);
  });

  it("uses at one instance what another one gave it", async () => {
    await using other = await openGuardedRegistry(registry);
    const { password } = await registry.deployToken({ actions: ["pull", "push"] });
    const bearer = await other.bearer(password, "repository:acme/web:pull,push");
    const started = await registry.send("POST", "/v2/acme/web/blobs/uploads/", bearer);
    expect(started.status).toBe(202);
    expect((await other.send("DELETE", started.headers.location!, bearer)).status).toBe(204);
    expect((await other.send("GET", "/v2/other/web/tags/list", bearer)).status).toBe(401);
  });

  it("that was revoked gets no new access token after seconds, on every instance", async () => {
    const { id, password } = await registry.deployToken({});
    expect((await registry.askToken(password, "")).status).toBe(200);
    const [first, second] = await Promise.all([
      createDeployTokens(registry.bucket).revoke(id, Date.now(), signal),
      createDeployTokens(registry.bucket).revoke(id, Date.now() + 1, signal),
    ]);
    expect(first?.revokedAtMs).toBe(second?.revokedAtMs);
    await expect.poll(async () => (await registry.askToken(password, "")).status, { timeout: 30_000, interval: 1000 }).toBe(401);
  }, 40_000);
});

describe("signing keys", () => {
  it("are made once, though many instances start together", async () => {
    await using other = await openGuardedRegistry();
    const instances = Array.from({ length: 8 }, () => createSigningKeys(other.bucket));
    const signers = await Promise.all(instances.map((keys) => keys.signer(Date.now(), signal)));
    expect(new Set(signers.map(({ id }) => id))).toEqual(new Set(["0000000001"]));
    expect(await other.bucket.list("auth/signing-keys/", {}, signal)).toEqual(["auth/signing-keys/0000000001"]);
  });

  it("that an operator removed are not used for longer than a minute, though a new one has their number", async () => {
    await using other = await openGuardedRegistry();
    const [one, two] = [createSigningKeys(other.bucket), createSigningKeys(other.bucket)];
    const nowMs = Date.now();
    const removed = (await one.signer(nowMs, signal)).publicKey;
    await other.bucket.delete("auth/signing-keys/0000000001", signal);
    const made = (await two.signer(nowMs, signal)).publicKey;
    expect(await exportJWK(made)).not.toEqual(await exportJWK(removed));
    expect(await exportJWK((await one.signer(nowMs + 60_000, signal)).publicKey)).toEqual(await exportJWK(made));
  });

  it("that an operator removed do not verify for longer than a minute, at an instance that never signs, either", async () => {
    await using other = await openGuardedRegistry();
    const [one, two] = [createSigningKeys(other.bucket), createSigningKeys(other.bucket)];
    const nowMs = Date.now();
    const { id } = await one.signer(nowMs, signal);
    expect(await two.verifier(id, nowMs, signal)).toBeDefined();
    await other.bucket.delete(`auth/signing-keys/${id}`, signal);
    expect(await two.verifier(id, nowMs + 60_000, signal)).toBeUndefined();
  });

  it("sign on for a day when the bucket takes no new one", async () => {
    await using other = await openGuardedRegistry();
    const hourMs = 60 * 60 * 1000;
    const startMs = Date.now();
    const refusing = { ...other.bucket, putIf: () => Promise.reject(new Error("read-only")) };
    const { id } = await createSigningKeys(other.bucket).signer(startMs, signal);
    const keys = createSigningKeys(refusing);
    expect((await keys.signer(startMs + 30 * 24 * hourMs, signal)).id).toBe(id);
    await expect(keys.signer(startMs + 31 * 24 * hourMs, signal)).rejects.toThrow("read-only");
  });

  it("are replaced after 30 days; the one before verifies for a day more, and is then removed", async () => {
    await using other = await openGuardedRegistry();
    const dayMs = 24 * 60 * 60 * 1000;
    const startMs = Date.now();
    const [one, two] = [createSigningKeys(other.bucket), createSigningKeys(other.bucket)];
    expect((await one.signer(startMs, signal)).id).toBe("0000000001");
    expect((await one.signer(startMs + 29 * dayMs, signal)).id).toBe("0000000001");
    expect((await one.signer(startMs + 30 * dayMs, signal)).id).toBe("0000000002");
    // the other instance meets the new key first in a token
    expect(await two.verifier("0000000002", startMs + 30 * dayMs, signal)).toBeDefined();
    expect(await two.verifier("0000000001", startMs + 30.9 * dayMs, signal)).toBeDefined();
    expect(await two.verifier("0000000001", startMs + 31 * dayMs, signal)).toBeUndefined();
    expect((await two.signer(startMs + 60 * dayMs, signal)).id).toBe("0000000003");
    expect(await other.bucket.list("auth/signing-keys/", {}, signal)).toEqual([
      "auth/signing-keys/0000000002",
      "auth/signing-keys/0000000003",
    ]);
  });
});

it("keeps a body that nobody may send out of the bucket", async () => {
  const before = await registry.stored();
  const { status } = await registry.send("POST", `/v2/acme/web/blobs/uploads/?digest=${digestOf("x")}`, {}, randomBytes(3_000_000));
  expect(status).toBe(401);
  await sleep(50);
  expect(await registry.stored()).toEqual(before);
});
