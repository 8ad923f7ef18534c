import { createHmac, generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { SignJWT, UnsecuredJWT, exportJWK, exportSPKI, generateKeyPair } from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../../../../oci/digest.ts";
import { createSigningKeys } from "../../../../registry/auth/signing-keys.ts";
import { type GuardedRegistry, openGuardedRegistry } from "./guarded-registry.ts";

const signal = AbortSignal.timeout(300_000);
const secret = randomBytes(1000);
const digest = digestOf(secret);
const unauthorized = '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}';
let registry: GuardedRegistry;
let before: string[];

beforeAll(async () => {
  registry = await openGuardedRegistry();
  const bearer = await registry.bearer(registry.systemToken, "repository:victim/app:pull,push");
  expect((await registry.send("POST", `/v2/victim/app/blobs/uploads/?digest=${digest}`, bearer, secret)).status).toBe(201);
});
afterAll(() => registry[Symbol.asyncDispose]());
beforeEach(async () => {
  before = await registry.stored();
});
// whatever was tried, nothing came into the bucket, and nothing went
afterEach(async () => expect(await registry.stored()).toEqual(before));

/** Pull, push and delete of what is there and of what is not: all are refused in the same words. */
async function expectNothing(authorization: string): Promise<void> {
  const headers = { authorization };
  const answers = [
    await registry.send("GET", `/v2/victim/app/blobs/${digest}`, headers),
    await registry.send("GET", `/v2/victim/app/blobs/${digestOf("absent")}`, headers),
    await registry.send("GET", "/v2/victim/absent/tags/list", headers),
    await registry.send("POST", `/v2/victim/app/blobs/uploads/?digest=${digestOf("evil")}`, headers, "evil"),
    await registry.send("POST", `/v2/victim/app/blobs/uploads/?mount=${digest}&from=victim/app`, headers),
    await registry.send("PUT", "/v2/victim/app/manifests/v1", headers, "{}"),
    await registry.send("DELETE", `/v2/victim/app/manifests/${digest}`, headers),
    await registry.send("DELETE", `/v2/victim/app/blobs/${digest}`, headers),
  ];
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401]));
  expect(new Set(answers.map(({ text }) => text))).toEqual(new Set([unauthorized]));
  for (const { headers: answered } of answers) expect(answered["www-authenticate"]).toMatch(/^Bearer realm="/);
}

describe("a forged token", () => {
  const nowS = () => Math.floor(Date.now() / 1000);
  const access = [{ type: "repository", name: "victim/app", actions: ["pull", "push", "delete"] }];
  type Fields = { header?: object; claims?: object; key?: Parameters<SignJWT["sign"]>[0] };
  const ours = async () => createSigningKeys(registry.bucket).signer(Date.now(), signal);
  const claimsAt = (claims: object) => ({
    access,
    iss: "slipway",
    aud: "slipway-registry",
    sub: "slipway",
    jti: "1",
    iat: nowS(),
    nbf: nowS(),
    exp: nowS() + 200,
    ...claims,
  });
  const forge = async ({ header = {}, claims = {}, key }: Fields) => {
    const { id, privateKey } = await ours();
    return new SignJWT(claimsAt(claims)).setProtectedHeader({ alg: "EdDSA", kid: id, typ: "JWT", ...header }).sign(key ?? privateKey);
  };

  it("is accepted when it is as ours are: the forger works", async () => {
    const authorization = `Bearer ${await forge({})}`;
    expect((await registry.send("HEAD", `/v2/victim/app/blobs/${digest}`, { authorization })).status).toBe(200);
  });

  it.each<[string, () => object]>([
    ["that is over", () => ({ iat: nowS() - 290, nbf: nowS() - 290, exp: nowS() - 50 })],
    ["from the future", () => ({ nbf: nowS() + 120, iat: nowS() + 120, exp: nowS() + 300 })],
    ["that begins in the future", () => ({ nbf: nowS() + 120 })],
    ["that lives for a year since a year", () => ({ iat: nowS() - 31_536_000, nbf: nowS() - 31_536_000, exp: nowS() + 200 })],
    ["for another service", () => ({ aud: "another-registry" })],
    ["for no service", () => ({ aud: undefined })],
    ["of another issuer", () => ({ iss: "another" })],
    ["without an end", () => ({ exp: undefined })],
    ["without a beginning", () => ({ nbf: undefined })],
    ["without an id", () => ({ jti: undefined })],
    ["with access to all names", () => ({ access: [{ type: "repository", name: "*", actions: ["pull", "push", "delete"] }] })],
    ["with access by wildcard", () => ({ access: [{ type: "repository", name: "victim/*", actions: ["*"] }] })],
    ["with access that is no list", () => ({ access: { type: "repository", name: "victim/app", actions: ["pull"] } })],
    ["with access of another type", () => ({ access: [{ type: "registry", name: "victim/app", actions: ["pull", "push", "delete"] }] })],
  ])("%s is refused", async (_what, claims) => expectNothing(`Bearer ${await forge({ claims: claims() })}`));

  it("without a signature is refused", async () => {
    const none = new UnsecuredJWT(claimsAt({})).encode();
    await expectNothing(`Bearer ${none}`);
    const [, payload] = none.split(".");
    const header = Buffer.from(JSON.stringify({ alg: "none", kid: (await ours()).id, typ: "JWT" })).toString("base64url");
    for (const signature of ["", "x", Buffer.alloc(64).toString("base64url")])
      await expectNothing(`Bearer ${header}.${payload}.${signature}`);
  });

  it("with the public key as the secret of an HMAC is refused", async () => {
    const { id } = await ours();
    const publicKey = (await createSigningKeys(registry.bucket).verifier(id, Date.now(), signal))!;
    const jwk = await exportJWK(publicKey);
    for (const key of [await exportSPKI(publicKey), jwk.x!, Buffer.from(jwk.x!, "base64url"), JSON.stringify(jwk)]) {
      const parts = [{ alg: "HS256", kid: id, typ: "JWT" }, claimsAt({})].map((part) =>
        Buffer.from(JSON.stringify(part)).toString("base64url"),
      );
      const signature = createHmac("sha256", key).update(parts.join(".")).digest("base64url");
      await expectNothing(`Bearer ${parts.join(".")}.${signature}`);
    }
  });

  it("by another key is refused, whatever its header says of keys", async () => {
    const { publicKey, privateKey } = await generateKeyPair("EdDSA", { extractable: true });
    const jwk = await exportJWK(publicKey);
    const { id } = await ours();
    for (const header of [
      { kid: id },
      { kid: "0000000002" },
      { kid: "../signing-keys/0000000001" },
      { kid: "" },
      { kid: undefined },
      { kid: id, jwk },
      { kid: id, jku: `${registry.url}/keys` },
      { kid: id, x5u: `${registry.url}/keys` },
      { kid: id, x5c: [Buffer.from("certificate").toString("base64")] },
    ]) {
      await expectNothing(`Bearer ${await forge({ header, key: privateKey })}`);
    }
    await expectNothing(`Bearer ${await forge({ header: { kid: "0000000009" } })}`);
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    await expectNothing(`Bearer ${await forge({ header: { alg: "RS256" }, key: rsa })}`);
  });

  it("with a changed letter is refused, and so is what is no token", async () => {
    const good = await forge({});
    const [header, payload, signature] = good.split(".");
    const wider = Buffer.from(JSON.stringify(claimsAt({ sub: "else" }))).toString("base64url");
    for (const bad of [
      `${header}.${wider}.${signature}`,
      `${header}.${payload}`,
      `${good}.x`,
      `${good} x`,
      "x",
      "",
      "null",
      "a".repeat(8000),
    ]) {
      await expectNothing(`Bearer ${bad}`);
    }
    for (const scheme of ["Basic", "Token", "Bearer,", ""]) await expectNothing(`${scheme} ${good}`);
    await expectNothing(`Basic ${Buffer.from(`slipway:${registry.systemToken}`).toString("base64")}`);
  });

  it("in the query or in a cookie is not looked at", async () => {
    const good = await forge({});
    for (const name of ["access_token", "token", "authorization"]) {
      const { status } = await registry.send("GET", `/v2/victim/app/blobs/${digest}?${name}=${good}`, { cookie: `${name}=${good}` });
      expect(status).toBe(401);
    }
  });
});

describe("credentials", () => {
  it.each<[string, () => Promise<string>]>([
    ["of nobody", async () => "slipway_0123456789abcdef_" + "A".repeat(43)],
    ["with a wrong secret", async () => (await registry.deployToken({ org: "victim" })).password.slice(0, -2) + "xx"],
    [
      "with the id in capitals",
      async () => (await registry.deployToken({ org: "victim" })).password.replace(/_.{16}_/, (id) => id.toUpperCase()),
    ],
    ["that expired", async () => (await registry.deployToken({ org: "victim", expiresAtMs: Date.now() - 1 })).password],
    ["that were revoked", async () => (await registry.deployToken({ org: "victim", revokedAtMs: Date.now() })).password],
    ["with a path for an id", async () => `slipway_../../../../aaaa_${"A".repeat(43)}`],
    ["that are empty", async () => ""],
    ["of the system under another name", async () => registry.systemToken],
  ])("%s get no token", async (_what, password) => {
    const answer = await registry.askToken(await password(), "scope=repository:victim/app:pull");
    expect([answer.status, answer.text]).toEqual([401, unauthorized]);
  });

  it("that are no Basic credentials get no token, and none at all get none", async () => {
    for (const authorization of [undefined, "Basic", "Basic !", `Basic ${Buffer.from("nocolon").toString("base64")}`, "Bearer x"]) {
      const headers = authorization === undefined ? {} : { authorization };
      expect((await registry.send("GET", "/token?scope=repository:victim/app:pull&account=slipway", headers)).status).toBe(401);
    }
  });

  it("for another service are refused", async () => {
    const { password } = await registry.deployToken({});
    expect((await registry.askToken(password, "service=another")).status).toBe(400);
  });
});

describe("scope", () => {
  it.each<[string, string[]]>([
    ["by several parameters", ["repository:acme/web:pull", "repository:victim/app:pull,push,delete"]],
    ["by several in one parameter", ["repository:acme/web:pull repository:victim/app:pull,push"]],
    ["by wildcard name", ["repository:*:pull", "repository:victim/*:*", "repository:**:*"]],
    ["by wildcard action", ["repository:victim/app:*"]],
    ["by path", ["repository:acme/../victim/app:pull", "repository:acme/%2e%2e/victim/app:pull", "repository:./victim/app:pull"]],
    ["by slashes", ["repository://victim/app:pull", "repository:/victim/app:pull", "repository:acme//victim/app:pull"]],
    ["by case", ["repository:Victim/App:pull", "REPOSITORY:victim/app:pull", "repository:victim/app:PULL"]],
    ["by a host before the name", ["repository:localhost:5000/victim/app:pull"]],
    ["by type", ["registry:catalog:*", "repository(plugin):victim/app:pull", "*:victim/app:pull"]],
    ["by prefix of the org's name", ["repository:acme-evil/app:pull", "repository:acm/app:pull", "repository:acme:pull"]],
    ["by line breaks", ["repository:acme/web:pull\nrepository:victim/app:pull", "repository:victim/app:pull\u0000"]],
  ])("is not widened %s", async (_how, scopes) => {
    const { password } = await registry.deployToken({ actions: ["pull", "push", "delete"] });
    const { authorization } = await registry.bearer(password, ...scopes);
    const { access } = JSON.parse(Buffer.from(authorization.split(".")[1]!, "base64url").toString()) as { access: { name: string }[] };
    expect(access.filter(({ name }) => !name.startsWith("acme/"))).toEqual([]);
    await expectNothing(authorization);
  });

  it("of an app is not that of another whose name begins alike, and pull is not push or delete", async () => {
    const { password } = await registry.deployToken({ app: "web", actions: ["pull"] });
    const bearer = await registry.bearer(
      password,
      "repository:acme/web:*",
      "repository:acme/web-admin:pull",
      "repository:acme/web/part:pull",
    );
    const statuses = async (name: string) => [
      (await registry.send("GET", `/v2/${name}/tags/list`, bearer)).status,
      (await registry.send("POST", `/v2/${name}/blobs/uploads/`, bearer)).status,
      (await registry.send("PUT", `/v2/${name}/manifests/v1`, bearer, "{}")).status,
      (await registry.send("DELETE", `/v2/${name}/manifests/${digest}`, bearer)).status,
      (await registry.send("DELETE", `/v2/${name}/manifests/v1`, bearer)).status,
      (await registry.send("DELETE", `/v2/${name}/blobs/${digest}`, bearer)).status,
      (await registry.send("GET", `/v2/${name}/referrers/${digest}`, bearer)).status,
    ];
    expect(await statuses("acme/web")).toEqual([404, 401, 401, 401, 401, 401, 200]);
    expect(await statuses("acme/web/part")).toEqual([404, 401, 401, 401, 401, 401, 200]);
    expect(await statuses("acme/web-admin")).toEqual([401, 401, 401, 401, 401, 401, 401]);
  });

  it("of more than a hundred repositories is refused, and so is one that is too long for a request", async () => {
    const { password } = await registry.deployToken({});
    const many = (count: number) => Array.from({ length: count }, (_, index) => `scope=repository:acme/a${index}:pull`).join("&");
    expect((await registry.askToken(password, many(100))).status).toBe(200);
    expect((await registry.askToken(password, many(101))).status).toBe(400);
    expect((await registry.askToken(password, `scope=${"repository:acme/web:pull%20".repeat(340)}`)).status).toBe(400);
    // the server may close the connection before its answer is read, as the client is still sending
    const huge = await registry.askToken(password, many(1000)).catch(() => undefined);
    expect(huge?.status ?? 431).toBe(431);
    const form = `grant_type=password&username=a&password=${password}&${many(2000)}`;
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const long = await registry.send("POST", "/token", headers, form).catch(() => undefined);
    expect(long?.status ?? 413).toBe(413);
  });
});

describe("an upload", () => {
  it("of another repository can be neither asked for, nor written, nor ended, nor given up", async () => {
    const system = await registry.bearer(registry.systemToken, "repository:victim/app:pull,push");
    const started = await registry.send("POST", "/v2/victim/app/blobs/uploads/", system);
    const location = started.headers.location!;
    const id = location.split("/").at(-1)!;
    const { password } = await registry.deployToken({ actions: ["pull", "push", "delete"] });
    const bearer = await registry.bearer(password, "repository:acme/web:pull,push,delete", "repository:victim/app:pull,push");
    before = await registry.stored();
    for (const [path, status] of [
      [location, 401],
      [`/v2/acme/web/blobs/uploads/${id}`, 404],
    ] as const) {
      const answers = [
        await registry.send("GET", path, bearer),
        await registry.send("PATCH", path, bearer, "evil"),
        await registry.send("PUT", `${path}?digest=${digestOf("evil")}`, bearer, "evil"),
        await registry.send("DELETE", path, bearer),
      ];
      expect(answers.map((answer) => answer.status)).toEqual([status, status, status, status]);
    }
    expect(await registry.stored()).toEqual(before);
    const standing = await registry.send("GET", location, system);
    expect([standing.status, standing.headers.range]).toEqual([204, "0-0"]);
    expect((await registry.send("DELETE", location, system)).status).toBe(204);
    before = await registry.stored();
  });
});

describe("the header of a refusal", () => {
  /** As it was written to the socket: clients and proxies may see another header where we see a value. */
  async function rawHead(head: string): Promise<string> {
    const socket = connect(registry.port, "127.0.0.1");
    socket.write(`${head}\r\nconnection: close\r\n\r\n`);
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await once(socket, "close");
    return text.split("\r\n\r\n")[0]!;
  }

  it.each([
    ["host", 'GET /v2/ HTTP/1.1\r\nhost: evil.example"\r\nx-forwarded-host: evil.example\r\nx-forwarded-proto: https'],
    ["absolute address", "GET http://evil.example/v2/ HTTP/1.1\r\nhost: evil.example"],
    ["name", 'GET /v2/a",realm="http://evil.example/manifests/v1 HTTP/1.1\r\nhost: a'],
    ["encoded name", "GET /v2/a%22,realm=%22http:%2f%2fevil.example/manifests/v1 HTTP/1.1\r\nhost: a"],
    ["line break", "GET /v2/a%0d%0aset-cookie:%20evil=1/tags/list HTTP/1.1\r\nhost: a"],
    ["mount", `POST /v2/a/blobs/uploads/?mount=${digest}&from=b%22,realm=%22evil.example HTTP/1.1\r\nhost: a\r\ncontent-length: 0`],
  ])("names no other realm for a %s of the client's", async (_where, head) => {
    const answer = await rawHead(head);
    expect(answer).toMatch(/^HTTP\/1.1 (400|401|404) /);
    expect(answer).not.toMatch(/evil/);
    if (answer.startsWith("HTTP/1.1 401")) expect(answer).toContain(`www-authenticate: Bearer realm="${registry.url}/token"`);
  });
});
