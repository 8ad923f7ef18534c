import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { SignJWT, UnsecuredJWT } from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { imageHost } from "../../support/mirror-harness.ts";
import { type Answer, type Ask, type GuardedMirror, type Holding, basic, openGuardedMirror } from "./guarded-mirror.ts";

const secret = `secret-${randomUUID()}`;
const denied = '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}';
const unauthorized = '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}';
const absent = digestOf(Buffer.from("absent"));
let lab: GuardedMirror;
let before: string;

beforeAll(async () => {
  lab = await openGuardedMirror(secret);
});
afterAll(async () => await lab?.[Symbol.asyncDispose]());

/** As the build of acme's app web, on acme's socket. */
async function attack(method: string, path: string, ask: Ask = {}): Promise<Answer> {
  const answer = await lab.send(lab.acme, method, path, { as: lab.own.token, ...ask });
  expect(answer.text).not.toContain(secret);
  return answer;
}

const layerOf = ({ image }: Holding) => image.layers[0]!.descriptor;

it("what is under attack is there, and its owner reads it", async () => {
  for (const [org, { repository, image, token }] of [
    [lab.acme, lab.own],
    [lab.acme, lab.neighbour],
    [lab.rival, lab.foreign],
  ] as const) {
    const digest = image.layers[0]!.descriptor.digest;
    expect((await lab.send(org, "GET", `/v2/${repository}/blobs/${digest}`, { as: token })).text).toContain(secret);
    expect((await lab.send(org, "GET", `/v2/${repository}/manifests/v1`, { as: token })).status).toBe(200);
    expect((await lab.send(org, "GET", "/v2/", { as: token })).status).toBe(200);
  }
});

describe("an attack", () => {
  beforeEach(async () => {
    before = await lab.stored();
  });
  // whatever was tried: nothing came, nothing went, no label changed
  afterEach(async () => expect(await lab.stored()).toEqual(before));

  describe("with a credential that is none is answered with 401, the same for all", () => {
    const claims = (more: object = {}) => {
      const nowS = Math.floor(Date.now() / 1000);
      return {
        org: lab.acme.name,
        app: "web",
        aud: "slipway-mirror",
        iss: "slipway-mirror",
        jti: "1",
        iat: nowS,
        exp: nowS + 600,
        ...more,
      };
    };
    const signed = (more: object = {}, header: object = {}, key = lab.key) =>
      new SignJWT(claims(more)).setProtectedHeader({ alg: "HS256", typ: "JWT", ...header }).sign(key);

    it("but not with one as the mirror makes them", async () => {
      expect((await attack("GET", `/v2/${lab.own.repository}/manifests/v1`, { as: await signed() })).status).toBe(200);
    });

    it.each<[string, () => Promise<Ask["as"]> | Ask["as"]]>([
      ["nothing", () => undefined],
      ["an empty password", () => ""],
      ["a word", () => "letmein"],
      ["a build's token of another org", () => lab.foreign.token],
      ["a token that is over", () => signed({ exp: Math.floor(Date.now() / 1000) - 1 })],
      ["a token without an end", () => signed({ exp: undefined })],
      ["a token without a signature", () => new UnsecuredJWT(claims()).encode()],
      ["a token with its signature cut off", async () => (await signed()).replace(/[^.]+$/, "")],
      ["a token changed to another app", async () => swapClaims(await signed(), claims({ app: "api" }))],
      ["a token signed by a key of one's own", () => signed({}, {}, randomBytes(32))],
      ["a token that brings its key along", () => signed({}, { jwk: { kty: "oct", k: "AAAA" }, kid: "../../dev/null" }, Buffer.alloc(32))],
      ["a token for another audience", () => signed({ aud: "slipway-registry" })],
      ["a token of another issuer", () => signed({ iss: "slipway" })],
      ["a token of another algorithm", () => signed({}, { alg: "HS384" })],
      ["a token of the registry", async () => bearerToken("x")],
      ["a build's token as Bearer", () => ({ authorization: `Bearer ${lab.own.token}` })],
      ["a build's token without a scheme", () => ({ authorization: lab.own.token })],
      ["a build's token as the user", () => ({ authorization: basic("", lab.own.token) })],
      ["the operator's token under another name", () => lab.registry.systemToken],
      ["the operator's name", () => ({ authorization: basic("", "slipway") })],
      ["a deploy token that nobody made", () => `slipway_0123456789abcdef_${"A".repeat(43)}`],
    ])("%s", async (_what, make) => {
      const as = await make();
      const ask = { as: as ?? { authorization: "" } };
      const answers = [
        await attack("GET", "/v2/", ask),
        await attack("GET", `/v2/${lab.own.repository}/manifests/v1`, ask),
        await attack("GET", `/v2/${lab.own.repository}/manifests/none`, ask),
        await attack("GET", `/v2/${lab.foreign.repository}/manifests/v1`, ask),
        await attack("POST", `/v2/${lab.own.repository}/blobs/uploads/?digest=${digestOf(Buffer.from("evil"))}`, { ...ask, body: "evil" }),
        await attack("DELETE", `/v2/${lab.own.repository}/manifests/v1`, ask),
        await attack("GET", "/v2/library/debian/manifests/13?ns=docker.io", ask),
        await attack("GET", "/v2/_catalog", ask),
      ];
      expect(answers.map(({ status, text }) => `${status} ${text}`)).toEqual(answers.map(() => `401 ${unauthorized}`));
      for (const { headers } of answers) expect(headers["www-authenticate"]).toBe('Basic realm="slipway mirror", charset="UTF-8"');
    });
  });

  describe.each<[string, () => Pick<Holding, "repository" | "image" | "upload">]>([
    ["another app", () => lab.neighbour],
    ["another org", () => lab.foreign],
    ["an app that is not there", () => ({ ...lab.neighbour, repository: `${lab.acme.name}/absent` })],
    ["an org that is not there", () => ({ ...lab.foreign, repository: "absent/web" })],
    ["a repository below the own", () => ({ ...lab.own, repository: `${lab.own.repository}/sub` })],
    ["an org whose name begins like the own", () => ({ ...lab.foreign, repository: `${lab.acme.name}s/web` })],
    ["a repository without an org", () => ({ ...lab.foreign, repository: "web" })],
  ])("on %s is answered with 403, the same for all", (_whose, held) => {
    it.each<[string, string, (of: ReturnType<typeof held>) => string, Ask?]>([
      ["reading a tag", "GET", () => "manifests/v1"],
      ["asking for a tag", "HEAD", () => "manifests/v1"],
      ["reading a manifest", "GET", ({ image }) => `manifests/${image.manifest.descriptor.digest}`],
      ["reading a blob", "GET", ({ image }) => `blobs/${image.layers[0]!.descriptor.digest}`],
      [
        "reading a part of a blob",
        "GET",
        ({ image }) => `blobs/${image.layers[0]!.descriptor.digest}`,
        { headers: { range: "bytes=0-9" } },
      ],
      ["asking for a blob", "HEAD", ({ image }) => `blobs/${image.layers[0]!.descriptor.digest}`],
      ["listing tags", "GET", () => "tags/list"],
      ["listing referrers", "GET", ({ image }) => `referrers/${image.manifest.descriptor.digest}`],
      ["beginning an upload", "POST", () => "blobs/uploads/"],
      ["uploading at once", "POST", () => `blobs/uploads/?digest=${digestOf(Buffer.from("evil"))}`, { body: "evil" }],
      ["mounting from the own", "POST", () => `blobs/uploads/?mount=${layerOf(lab.own).digest}&from=${lab.own.repository}`],
      ["asking for an upload", "GET", ({ upload }) => `blobs/uploads/${upload}`],
      ["adding to an upload", "PATCH", ({ upload }) => `blobs/uploads/${upload}`, { body: "evil" }],
      ["finishing an upload", "PUT", ({ upload }) => `blobs/uploads/${upload}?digest=${digestOf(Buffer.alloc(0))}`],
      ["ending an upload", "DELETE", ({ upload }) => `blobs/uploads/${upload}`],
      ["writing a manifest", "PUT", () => "manifests/v1", { body: "{}", headers: { "content-type": mediaTypes.imageManifest } }],
      ["reading as a mirror of oneself", "GET", () => `manifests/v1?ns=${imageHost}`],
    ])("%s", async (_what, method, rest, ask) => {
      const of = held();
      const { status, text } = await attack(method, `/v2/${of.repository}/${rest(of)}`, ask);
      expect({ status, text }).toEqual({ status: 403, text: method === "HEAD" ? "" : denied });
    });

    it.each([
      ["a tag", "manifests/v1"],
      ["a manifest", `manifests/${absent}`],
      ["a blob", `blobs/${absent}`],
    ])("but deleting %s, which no builder does: 405", async (_what, rest) => {
      expect((await attack("DELETE", `/v2/${held().repository}/${rest}`)).status).toBe(405);
    });
  });

  describe.each<[string, () => Holding]>([
    ["another app", () => lab.neighbour],
    ["another org", () => lab.foreign],
  ])("from the own repository, by what one knows of %s,", (_whose, held) => {
    const at = (rest: string) => `/v2/${lab.own.repository}/${rest}`;

    it("gets no blob and no manifest by its digest, as if there were none", async () => {
      for (const digest of [layerOf(held()).digest, absent]) {
        expect((await attack("GET", at(`blobs/${digest}`))).status).toBe(404);
        expect((await attack("HEAD", at(`blobs/${digest}`))).status).toBe(404);
      }
      expect((await attack("GET", at(`manifests/${held().image.manifest.descriptor.digest}`))).status).toBe(404);
      expect((await attack("GET", at(`referrers/${held().image.manifest.descriptor.digest}`))).text).toContain('"manifests":[]');
    });

    it("finds uploads in no repository but theirs", async () => {
      const upload = at(`blobs/uploads/${held().upload}`);
      expect((await attack("GET", upload)).status).toBe(404);
      expect((await attack("PATCH", upload, { body: "evil" })).status).toBe(404);
      expect((await attack("PUT", `${upload}?digest=${absent}`)).status).toBe(404);
      expect((await attack("DELETE", upload)).status).toBe(404);
    });

    it("claims no digest without its bytes", async () => {
      const { digest } = layerOf(held());
      expect((await attack("POST", at(`blobs/uploads/?digest=${digest}`))).status).toBe(400);
      expect((await attack("POST", at(`blobs/uploads/?digest=${digest}`), { body: "evil" })).status).toBe(400);
      expect((await attack("HEAD", at(`blobs/${digest}`))).status).toBe(404);
    });

    it.each(["config", "layers", "index"] as const)("gets no manifest in that names it (%s)", async (place) => {
      const { image } = held();
      const [config, layer] = [lab.own.image.config.descriptor, layerOf(lab.own)];
      const of = (fields: object) => ({ schemaVersion: 2, mediaType: mediaTypes.imageManifest, config, layers: [layer], ...fields });
      const documents = {
        config: of({ config: image.config.descriptor }),
        layers: of({ layers: [layerOf(held())] }),
        index: { schemaVersion: 2, mediaType: mediaTypes.imageIndex, manifests: [image.manifest.descriptor] },
      };
      const body = JSON.stringify(documents[place]);
      const type = documents[place].mediaType;
      const { status, text } = await attack("PUT", at("manifests/stolen"), { body, headers: { "content-type": type } });
      expect([status, text]).toEqual([404, expect.stringContaining("MANIFEST_BLOB_UNKNOWN")]);
    });

    it.each<[string, (of: Holding) => string]>([
      ["from its repository", ({ repository }) => `&from=${repository}`],
      ["from wherever it is", () => ""],
      ["from the own repository", () => `&from=${lab.own.repository}`],
      ["from a repository that cannot be", ({ repository }) => `&from=${lab.acme.name}/../${repository}`],
      ["from its repository, twice said", ({ repository }) => `&from=${lab.own.repository}&from=${repository}`],
    ])("mounts no blob %s", async (_what, from) => {
      const { digest } = layerOf(held());
      const { status, headers } = await attack("POST", at(`blobs/uploads/?mount=${digest}${from(held())}`));
      expect(status).not.toBe(201);
      if (status === 202) expect((await attack("DELETE", headers.location!)).status).toBe(204);
      expect((await attack("HEAD", at(`blobs/${digest}`))).status).toBe(404);
    });
  });

  describe("by ?ns= reads nothing but what other registries have", () => {
    it.each<[string, () => string]>([
      ["another org's name", () => lab.rival.name],
      ["another org's name with a slash", () => `${lab.rival.name}/`],
      ["the image host in capitals", () => imageHost.toUpperCase()],
      ["the image host with a dot", () => `${imageHost}.`],
      ["the image host with a port", () => `${imageHost}:443`],
      ["the registry's address", () => new URL(lab.registry.url).host],
      ["this host", () => "localhost"],
      ["the other org's socket", () => `${lab.rival.address}:${lab.mirror.port}`],
      ["an address in IPv6", () => "[::1]:5000"],
      ["an address as a number", () => "2130706433"],
      ["a cloud's metadata", () => "169.254.169.254"],
      ["a link-local address", () => "[fe80::1%25eth0]"],
      ["a user before the host", () => "docker.io@127.0.0.1"],
      ["a path behind the host", () => `docker.io/../${lab.rival.name}`],
      ["a parent", () => ".."],
      ["an address with a scheme", () => "http://127.0.0.1"],
      ["a look-alike", () => "ｄocker.io"],
      ["a line break", () => "docker.io\r\nx-injected: 1"],
      ["a NUL", () => "docker.io\0"],
      ["a very long one", () => `${"a".repeat(4000)}.io`],
    ])("%s", async (_what, ns) => {
      for (const repository of [lab.foreign.repository, "web", lab.neighbour.repository]) {
        const { status, headers } = await attack("GET", `/v2/${repository}/manifests/v1?ns=${encodeURIComponent(ns())}`);
        expect([400, 403, 404]).toContain(status);
        expect(headers).not.toHaveProperty("x-injected");
      }
      const push = await attack("POST", `/v2/${lab.own.repository}/blobs/uploads/?ns=${encodeURIComponent(ns())}`);
      expect([400, 405]).toContain(push.status);
    });

    it("the image host, said twice or beside another", async () => {
      const tricks = [
        `ns=unlisted.example&ns=${imageHost}`,
        `ns=${imageHost}&ns=unlisted.example`,
        `ns=&ns=${lab.rival.name}`,
        "NS=unlisted.example",
        "ns[]=x",
      ];
      for (const query of tricks) {
        expect([403, 404]).toContain((await attack("GET", `/v2/${lab.foreign.repository}/manifests/v1?${query}`)).status);
      }
    });
  });

  describe("by the path leaves no repository", () => {
    it.each<[string, (own: string, foreign: string) => string]>([
      ["with a parent", (own, foreign) => `/v2/${own}/../../${foreign}/manifests/v1`],
      ["with an encoded parent", (own, foreign) => `/v2/${own}/%2e%2e/%2e%2e/${foreign}/manifests/v1`],
      ["with encoded slashes", (_own, foreign) => `/v2/${foreign.replaceAll("/", "%2f")}/manifests/v1`],
      ["with slashes encoded twice", (_own, foreign) => `/v2/${foreign.replaceAll("/", "%252f")}/manifests/v1`],
      [
        "with a parent in the reference",
        (own, foreign) => `/v2/${own}/manifests/..%2f..%2f..%2f${foreign.replace("/", "%2f")}%2fmanifests%2fv1`,
      ],
      ["with a parent in the digest", (own) => `/v2/${own}/blobs/sha256:..%2f..%2f${"a".repeat(50)}`],
      ["in capitals", (_own, foreign) => `/v2/${foreign.toUpperCase()}/manifests/v1`],
      ["with two slashes", (_own, foreign) => `/v2//${foreign}/manifests/v1`],
      ["with two slashes within", (_own, foreign) => `/v2/${foreign.replace("/", "//")}/manifests/v1`],
      ["with two slashes before", (_own, foreign) => `//v2/${foreign}/manifests/v1`],
      ["with a dot", (_own, foreign) => `/v2/./${foreign}/manifests/v1`],
      ["with a backslash", (_own, foreign) => `/v2/${foreign.replace("/", "\\")}/manifests/v1`],
      ["with a NUL", (own, foreign) => `/v2/${own}%00/../${foreign}/manifests/v1`],
      ["with a parameter", (own, foreign) => `/v2/${own};/${foreign}/manifests/v1`],
      ["with the other repository within the own", (own, foreign) => `/v2/${own}/manifests/v1/v2/${foreign}/manifests/v1`],
      ["with a fragment", (_own, foreign) => `/v2/${foreign}/manifests/v1#/v2/`],
      ["with a space", (_own, foreign) => `/v2/%20${foreign}/manifests/v1`],
      ["under another version", (_own, foreign) => `/v1/${foreign}/manifests/v1`],
      ["with a bad escape", (_own, foreign) => `/v2/%zz/${foreign}/manifests/v1`],
      ["with a whole address", (_own, foreign) => `http://${lab.rival.address}:${lab.mirror.port}/v2/${foreign}/manifests/v1`],
      ["by the catalog", () => "/v2/_catalog"],
    ])("%s", async (_what, path) => {
      const { status } = await attack("GET", path(lab.own.repository, lab.foreign.repository));
      expect([400, 403, 404]).toContain(status);
    });
  });

  describe("by headers changes neither org nor repository nor method", () => {
    it.each<[string, () => Record<string, string>]>([
      ["Host", () => ({ host: `${lab.rival.address}:${lab.mirror.port}` })],
      ["X-Forwarded-Host", () => ({ "x-forwarded-host": lab.rival.address, "x-forwarded-for": lab.rival.address })],
      ["Forwarded", () => ({ forwarded: `for=${lab.rival.address};host=${lab.rival.address}` })],
      ["X-Original-URL", () => ({ "x-original-url": `/v2/${lab.own.repository}/manifests/v1` })],
      ["X-HTTP-Method-Override", () => ({ "x-http-method-override": "DELETE", "x-method-override": "DELETE" })],
      ["containerd-namespace", () => ({ "containerd-namespace": `slipway-${lab.rival.name}`, "containerd-lease": "push" })],
      ["grpc-metadata", () => ({ "grpc-metadata-containerd-namespace": `slipway-${lab.rival.name}` })],
      ["OCI-Namespace", () => ({ "oci-namespace": lab.rival.name })],
      ["Cookie", () => ({ cookie: `authorization=${basic(lab.foreign.token)}` })],
      ["Proxy-Authorization", () => ({ "proxy-authorization": basic(lab.foreign.token) })],
    ])("%s", async (_what, headers) => {
      const foreign = await attack("GET", `/v2/${lab.foreign.repository}/manifests/v1`, { headers: headers() });
      expect([foreign.status, foreign.text]).toEqual([403, denied]);
      const own = await attack("GET", `/v2/${lab.own.repository}/blobs/${layerOf(lab.foreign).digest}`, { headers: headers() });
      expect(own.status).toBe(404);
    });

    it.each<[string, string]>([
      ["two lengths", "content-length: 0\r\ncontent-length: 100"],
      ["a length and chunks", "content-length: 5\r\ntransfer-encoding: chunked"],
      ["chunks that are none", "transfer-encoding: xchunked"],
      ["a space before the colon", "transfer-encoding : chunked"],
      ["a folded line", "x-a: b\r\n transfer-encoding: chunked"],
      ["a bare line feed", "x-a: b\ntransfer-encoding: chunked"],
      ["a NUL", "x-a: \0"],
    ])("%s: what comes behind is no request of its own", async (_what, line) => {
      const hidden = `GET /v2/${lab.foreign.repository}/manifests/v1 HTTP/1.1\r\nhost: a\r\nauthorization: ${basic(lab.foreign.token)}\r\n\r\n`;
      const first = `POST /v2/${lab.own.repository}/tags/list HTTP/1.1\r\nhost: a\r\nauthorization: ${basic(lab.own.token)}\r\n${line}\r\n\r\n`;
      const text = await exchange(`${first}0\r\n\r\n${hidden}`);
      expect(text).toMatch(/^HTTP\/1\.1 4\d\d /);
      expect(text).not.toMatch(/HTTP\/1\.1 200 /);
      expect(text).not.toContain(secret);
    });
  });

  it("with a token for the source reads the source and nothing else", async () => {
    const { repository, image } = lab.own;
    const [source, other] = [image.config.descriptor.digest, layerOf(lab.own).digest];
    const { token } = await lab.tokens.mint({ org: lab.acme.name, app: "web", blob: source }, 60_000, Date.now());
    expect((await attack("GET", `/v2/${repository}/blobs/${source}`, { as: token })).status).toBe(200);
    for (const [method, rest] of [
      ["GET", `blobs/${other}`],
      ["GET", "manifests/v1"],
      ["GET", "tags/list"],
      ["POST", "blobs/uploads/"],
      ["PUT", "manifests/v1"],
    ] as const) {
      expect((await attack(method, `/v2/${repository}/${rest}`, { as: token })).status).toBe(403);
    }
    expect((await attack("GET", "/v2/library/debian/manifests/13?ns=docker.io", { as: token })).status).toBe(403);
  });

  it("as the operator stays in the org of the socket", async () => {
    const as = { authorization: basic(lab.registry.systemToken, "slipway") };
    expect((await attack("GET", `/v2/${lab.neighbour.repository}/tags/list`, { as })).status).toBe(200);
    for (const path of [`manifests/v1`, `blobs/${layerOf(lab.foreign).digest}`, "tags/list"]) {
      expect((await attack("GET", `/v2/${lab.foreign.repository}/${path}`, { as })).status).toBe(404);
    }
    expect((await attack("POST", `/v2/${lab.foreign.repository}/blobs/uploads/`, { as })).status).toBe(404);
  });

  it("with a deploy token has what the registry grants, cut to the org of the socket", async () => {
    const reader = (await lab.registry.deployToken({ org: lab.acme.name })).password;
    const ofApp = (await lab.registry.deployToken({ org: lab.acme.name, app: "api", actions: ["pull", "push"] })).password;
    const stranger = (await lab.registry.deployToken({ org: lab.rival.name, actions: ["pull", "push", "delete"] })).password;
    const status = async (as: string, method: string, path: string) => (await lab.send(lab.acme, method, path, { as })).status;
    const [web, api, theirs] = [lab.own, lab.neighbour, lab.foreign].map(({ repository }) => `/v2/${repository}`);
    expect(await status(reader, "GET", `${web}/manifests/v1`)).toBe(200);
    expect(await status(reader, "GET", `${api}/manifests/v1`)).toBe(200);
    expect(await status(reader, "POST", `${web}/blobs/uploads/`)).toBe(403);
    expect(await status(reader, "DELETE", `${web}/manifests/v1`)).toBe(403);
    expect(await status(ofApp, "GET", `${api}/manifests/v1`)).toBe(200);
    expect(await status(ofApp, "GET", `${web}/manifests/v1`)).toBe(403);
    expect(await status(ofApp, "GET", "/v2/library/debian/manifests/13?ns=docker.io")).toBe(403);
    for (const path of [`${web}/manifests/v1`, `${theirs}/manifests/v1`]) {
      expect(await status(stranger, "GET", path)).toBe(403);
      expect(await status(stranger, "DELETE", path)).toBe(403);
    }
    expect(await status(reader, "GET", `${theirs}/manifests/v1`)).toBe(403);
  });
});

function swapClaims(token: string, claims: object): string {
  const [header, , signature] = token.split(".");
  return [header, Buffer.from(JSON.stringify(claims)).toString("base64url"), signature].join(".");
}

async function bearerToken(app: string): Promise<string> {
  const { authorization } = await lab.registry.bearer(lab.registry.systemToken, `repository:${lab.acme.name}/${app}:pull,push`);
  return authorization.replace("Bearer ", "");
}

/** All that comes back on one connection until the mirror closes it. */
async function exchange(bytes: string): Promise<string> {
  const socket = connect({ host: lab.acme.address, port: lab.mirror.port });
  const parts: Buffer[] = [];
  socket.on("data", (part: Buffer) => parts.push(part));
  socket.on("error", () => undefined);
  socket.write(bytes);
  socket.setTimeout(2_000, () => socket.destroy());
  await once(socket, "close");
  return Buffer.concat(parts).toString("latin1");
}
