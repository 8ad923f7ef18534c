import { Readable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { type DistributionClient, UpstreamError, createDistributionClient } from "../../../oci/distribution-client.ts";
import { digestOf } from "../../../oci/digest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { parseManifestReference } from "../../../oci/reference.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { type Handler, openHttpServer } from "../../support/http-server.ts";

const repository = parseRepository("library/app");
const latest = parseManifestReference("latest");
const signal = AbortSignal.timeout(8_000);
const opened: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close();
});

async function listen(handler: Handler): Promise<string> {
  const server = await openHttpServer(handler);
  opened.push(async () => server[Symbol.asyncDispose]());
  return server.url;
}

function client(baseUrl: string, more: Partial<Parameters<typeof createDistributionClient>[0]> = {}): DistributionClient {
  const made = createDistributionClient({ baseUrl, ...more });
  opened.push(() => made[Symbol.dispose]());
  return made;
}

async function errorOf(promise: Promise<unknown>): Promise<UpstreamError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UpstreamError);
  return error as UpstreamError;
}

async function bodyOf(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe("reading", () => {
  it("says undefined for what the registry has not", async () => {
    const url = await listen((_request, response) => void response.writeHead(404).end("{}"));
    const registry = client(url);
    expect(await registry.statBlob(repository, digestOf("x"), signal)).toBeUndefined();
    expect(await registry.readBlob(repository, digestOf("x"), undefined, signal)).toBeUndefined();
    expect(await registry.resolveManifest(repository, latest, signal)).toBeUndefined();
    expect(await registry.readManifest(repository, latest, signal)).toBeUndefined();
    expect(await registry.listTags(repository, signal)).toBeUndefined();
  });

  it("refuses a manifest whose bytes are not those of its digest", async () => {
    const url = await listen((_request, response) => {
      response.writeHead(200, { "content-type": mediaTypes.imageManifest, "docker-content-digest": digestOf("other") }).end("{}");
    });
    expect(await errorOf(client(url).readManifest(repository, latest, signal))).toMatchObject({
      code: "DIGEST_MISMATCH",
      retryable: false,
    });
  });

  it("asks for the bytes when HEAD does not tell the digest", async () => {
    const url = await listen((_request, response) => void response.writeHead(200, { "content-type": mediaTypes.imageManifest }).end("{}"));
    expect(await client(url).resolveManifest(repository, latest, signal)).toEqual({
      mediaType: mediaTypes.imageManifest,
      digest: digestOf("{}"),
      size: 2,
    });
  });

  it("asks a mirror on behalf of another registry", async () => {
    const asked: string[] = [];
    const url = await listen((request, response) => {
      asked.push(request.url ?? "");
      response.writeHead(404).end();
    });
    await client(url, { ns: "docker.io" }).readManifest(repository, latest, signal);
    expect(asked).toEqual(["/v2/library/app/manifests/latest?ns=docker.io"]);
  });

  it("reads a range and says which", async () => {
    const url = await listen((request, response) => {
      expect(request.headers.range).toBe("bytes=2-");
      response.writeHead(206, { "content-range": "bytes 2-4/5", "content-length": 3 }).end("cde");
    });
    const content = await client(url).readBlob(repository, digestOf("abcde"), { first: 2 }, signal);
    expect(content).toMatchObject({ sizeBytes: 5, range: { first: 2, last: 4 } });
    expect((await bodyOf(content!.body)).toString()).toBe("cde");
  });

  it("fails a body that ends before its length", async () => {
    const url = await listen((_request, response) => {
      response.writeHead(200, { "content-length": 10 }).write("abc");
      setTimeout(() => response.destroy(), 20);
    });
    const content = await client(url).readBlob(repository, digestOf("x"), undefined, signal);
    expect(await errorOf(bodyOf(content!.body))).toMatchObject({ code: "CONNECTION_LOST", retryable: true });
  });

  it("follows the pages of a tag list", async () => {
    const url = await listen((request, response) => {
      const second = request.url?.includes("last=b") ?? false;
      if (!second) response.setHeader("link", '</v2/library/app/tags/list?n=2&last=b>; rel="next"');
      response.end(JSON.stringify({ tags: second ? ["c"] : ["a", "b"] }));
    });
    expect(await client(url).listTags(repository, signal)).toEqual(["a", "b", "c"]);
  });
});

describe("errors", () => {
  it("tells code, Retry-After and an address without its query", async () => {
    const url = await listen((_request, response) => {
      response.writeHead(429, { "retry-after": "7" }).end(JSON.stringify({ errors: [{ code: "TOOMANYREQUESTS", message: "slow down" }] }));
    });
    const error = await errorOf(client(url, { ns: "secret" }).readManifest(repository, latest, signal));
    expect(error).toMatchObject({ status: 429, code: "TOOMANYREQUESTS", retryAfterMs: 7000, retryable: true });
    expect(error.url).toBe(`${url}/v2/library/app/manifests/latest`);
  });

  it.each([
    [400, false],
    [401, false],
    [403, false],
    [500, true],
    [502, true],
    [503, true],
  ])("status %d is retryable: %s", async (status, retryable) => {
    const url = await listen((_request, response) => void response.writeHead(status).end());
    expect(await errorOf(client(url).ping(signal))).toMatchObject({ status, code: `HTTP_${status}`, retryable });
  });

  it("calls a port where nobody listens CONNECT_FAILED", async () => {
    expect(await errorOf(client("http://127.0.0.1:1").ping(signal))).toMatchObject({ code: "CONNECT_FAILED", retryable: true });
  });

  it("gives up on a registry that says nothing", async () => {
    const url = await listen(() => {});
    expect(await errorOf(client(url, { idleTimeoutMs: 50 }).ping(signal))).toMatchObject({ code: "TIMEOUT", retryable: true });
  });

  it("rejects with the reason of an aborted signal", async () => {
    const url = await listen(() => {});
    const controller = new AbortController();
    const pinged = client(url).ping(controller.signal);
    setTimeout(() => controller.abort(new Error("enough")), 20);
    await expect(pinged).rejects.toThrow("enough");
  });
});

describe("authorization", () => {
  it("fetches an anonymous token once and uses it again", async () => {
    const realm = await listen((_request, response) => void response.end(JSON.stringify({ token: "t0", expires_in: 300 })));
    const seen: (string | undefined)[] = [];
    const url = await listen((request, response) => {
      seen.push(request.headers.authorization);
      if (request.headers.authorization === "Bearer t0") return void response.end(JSON.stringify({ tags: [] }));
      response
        .writeHead(401, { "www-authenticate": `Bearer realm="${realm}/token",service="r",scope="repository:library/app:pull"` })
        .end();
    });
    const registry = client(url, { authRealmHosts: [new URL(realm).host] });
    await registry.listTags(repository, signal);
    await registry.listTags(repository, signal);
    expect(seen).toEqual([undefined, "Bearer t0", "Bearer t0"]);
  });

  it("asks no realm that nobody allowed", async () => {
    let asked = 0;
    const realm = await listen((_request, response) => {
      asked += 1;
      response.end("{}");
    });
    const url = await listen((_request, response) => {
      response.writeHead(401, { "www-authenticate": `Bearer realm="${realm}/token"` }).end();
    });
    expect(await errorOf(client(url).listTags(repository, signal))).toMatchObject({ code: "REALM_REFUSED", retryable: false });
    expect(asked).toBe(0);
  });

  it("does not fall over the rest of an answer whose redirect it refused", async () => {
    const uncaught: unknown[] = [];
    const note = (error: unknown) => uncaught.push(error);
    process.on("uncaughtException", note);
    opened.push(() => void process.off("uncaughtException", note));
    const gone = Promise.withResolvers<void>();
    const url = await listen((request, response) => {
      request.socket.once("close", () => gone.resolve());
      response.writeHead(307, { location: "ftp://elsewhere/", "content-length": 1000 }).write("a part of it");
      setTimeout(() => request.socket.destroy(), 50);
    });
    const error = await errorOf(client(url).readBlob(repository, digestOf("x"), undefined, signal));
    expect(error.code).toBe("REDIRECT_REFUSED");
    await gone.promise;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(uncaught).toEqual([]);
  });

  it("does not carry a token to the host of a redirect", async () => {
    const carried: (string | undefined)[] = [];
    const storage = await listen((request, response) => {
      carried.push(request.headers.authorization);
      response.writeHead(200, { "content-length": 2 }).end("ok");
    });
    const url = await listen((request, response) => {
      if (request.url?.startsWith("/token") === true) return void response.end(JSON.stringify({ token: "t0" }));
      if (request.headers.authorization === undefined) {
        return void response.writeHead(401, { "www-authenticate": `Bearer realm="http://${request.headers.host}/token"` }).end();
      }
      response.writeHead(307, { location: `${storage}/bytes?signature=1` }).end();
    });
    const content = await client(url).readBlob(repository, digestOf("ok"), undefined, signal);
    expect((await bodyOf(content!.body)).toString()).toBe("ok");
    expect(carried).toEqual([undefined]);
  });

  const credentials = { username: "slipway", password: "s3cret" };
  const basic = `Basic ${Buffer.from("slipway:s3cret").toString("base64")}`;

  it("shows its credentials to the token service of the registry and to no endpoint else", async () => {
    const seen: string[] = [];
    const url = await listen((request, response) => {
      const { host, authorization = "nothing" } = request.headers;
      seen.push(`${request.url!.split("?")[0]} ${authorization}`);
      if (request.url!.startsWith("/token")) return void response.end(JSON.stringify({ token: "t0", expires_in: 300 }));
      if (authorization === "Bearer t0") return void response.end(JSON.stringify({ tags: [] }));
      response.writeHead(401, { "www-authenticate": `Bearer realm="http://${host}/token",service="r"` }).end();
    });
    await client(url, { credentials }).listTags(repository, signal);
    const tags = `/v2/${repository}/tags/list`;
    expect(seen).toEqual([`${tags} nothing`, `/token ${basic}`, `${tags} Bearer t0`]);
  });

  it("shows its credentials to no other host, though that may be asked for an anonymous token", async () => {
    const stolen: (string | undefined)[] = [];
    const realm = await listen((request, response) => {
      stolen.push(request.headers.authorization);
      response.end(JSON.stringify({ token: "t0" }));
    });
    const url = await listen((_request, response) => {
      response.writeHead(401, { "www-authenticate": `Bearer realm="${realm}/token"` }).end();
    });
    expect(await errorOf(client(url, { credentials }).listTags(repository, signal))).toMatchObject({ code: "REALM_REFUSED" });
    const allowed = client(url, { credentials, authRealmHosts: [new URL(realm).host] });
    expect(await errorOf(allowed.listTags(repository, signal))).toMatchObject({ status: 401 });
    expect(stolen).toEqual([undefined]);
  });

  it("does not follow a token service that sends it elsewhere with its credentials", async () => {
    const stolen: (string | undefined)[] = [];
    const thief = await listen((request, response) => {
      stolen.push(request.headers.authorization);
      response.end(JSON.stringify({ token: "t0" }));
    });
    const url = await listen((request, response) => {
      if (request.url!.startsWith("/token")) return void response.writeHead(307, { location: `${thief}/token` }).end();
      response.writeHead(401, { "www-authenticate": `Bearer realm="http://${request.headers.host}/token"` }).end();
    });
    expect(await errorOf(client(url, { credentials }).listTags(repository, signal))).toMatchObject({ status: 307 });
    expect(stolen).toEqual([]);
  });

  it("fetches a new token when the last one is over before it sends a body that it can send only once", async () => {
    let tokens = 0;
    const url = await listen(async (request, response) => {
      const { host, authorization } = request.headers;
      // 5 s are the margin in which a token is not used any more
      if (request.url!.startsWith("/token")) return void response.end(JSON.stringify({ token: `t${(tokens += 1)}`, expires_in: 5 }));
      await request.resume().toArray();
      if (authorization !== `Bearer t${tokens}` || tokens === 0) {
        return void response.writeHead(401, { "www-authenticate": `Bearer realm="http://${host}/token"` }).end();
      }
      if (request.method === "POST") response.writeHead(202, { location: `/v2/${repository}/blobs/uploads/1` }).end();
      else response.writeHead(201).end();
    });
    const bytes = Buffer.from("once");
    const source = { digest: digestOf(bytes), sizeBytes: bytes.length, open: () => Readable.from([bytes]) };
    await client(url, { credentials }).pushBlob(repository, source, signal);
    expect(tokens).toBe(2);
  });

  it("follows a redirect inwards to the storage that it was told of, and to no other", async () => {
    const storage = await listen((_request, response) => void response.writeHead(200, { "content-length": 2 }).end("ok"));
    const { port, host } = new URL(storage);
    const inward = `localhost:${port}`;
    const url = await listen((_request, response) => void response.writeHead(307, { location: `http://${inward}/x` }).end());
    expect(await errorOf(client(url, { redirectHosts: [host] }).readBlob(repository, digestOf("ok"), undefined, signal))).toMatchObject({
      code: "REDIRECT_REFUSED",
    });
    const content = await client(url, { redirectHosts: [inward] }).readBlob(repository, digestOf("ok"), undefined, signal);
    expect((await bodyOf(content!.body)).toString()).toBe("ok");
  });

  it.each(["http://169.254.169.254/latest", "http://localhost:1/x", "http://[::1]:1/", "file:///etc/passwd"])(
    "does not follow a redirect to %s",
    async (location) => {
      const url = await listen((_request, response) => void response.writeHead(307, { location }).end());
      const error = await errorOf(client(url).readBlob(repository, digestOf("x"), undefined, signal));
      expect(error).toMatchObject({ code: "REDIRECT_REFUSED", retryable: false });
    },
  );
});

describe("pushing a blob", () => {
  const bytes = Buffer.alloc(6 * 1024 * 1024, "slipway");
  const source = {
    digest: digestOf(bytes),
    sizeBytes: bytes.length,
    open: (offset: number) =>
      Readable.from(
        (function* () {
          for (let at = offset; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
        })(),
      ),
  };

  it("takes an upload up where the registry says it stands", async () => {
    let held = Buffer.alloc(0);
    let patches = 0;
    let finished = "";
    const url = await listen(async (request, response) => {
      const location = { location: "/v2/library/app/blobs/uploads/u1?_state=a%2Fb" };
      if (request.method === "POST") return void response.writeHead(202, location).end();
      if (request.method === "GET") return void response.writeHead(204, { ...location, range: `0-${held.length - 1}` }).end();
      if (request.method === "PUT") {
        finished = request.url ?? "";
        return void response.writeHead(201).end();
      }
      patches += 1;
      if (patches === 2) expect(request.headers["content-range"]).toBe(`${held.length}-${bytes.length - 1}`);
      for await (const chunk of request as AsyncIterable<Buffer>) {
        held = Buffer.concat([held, chunk]);
        if (patches === 1 && held.length > 2_000_000) return void request.socket.destroy();
      }
      response.writeHead(202, location).end();
    });
    await client(url).pushBlob(repository, source, signal);
    expect(patches).toBe(2);
    expect(held.equals(bytes)).toBe(true);
    expect(finished).toContain("_state=a%2Fb&digest=sha256%3A");
  });

  it("passes on the error of its source, not one of the registry", async () => {
    const url = await listen((request, response) => {
      if (request.method === "POST") response.writeHead(202, { location: "/v2/library/app/blobs/uploads/u1" }).end();
      else request.resume();
    });
    const broken = {
      ...source,
      open: () =>
        Readable.from(
          (function* () {
            yield bytes.subarray(0, 100_000);
            throw new RangeError("disk gone");
          })(),
        ),
    };
    await expect(client(url).pushBlob(repository, broken, signal)).rejects.toThrow("disk gone");
  });

  it("does not try again what the registry refuses", async () => {
    let tries = 0;
    const url = await listen((request, response) => {
      if (request.method === "POST") return void response.writeHead(202, { location: "/v2/library/app/blobs/uploads/u1" }).end();
      tries += 1;
      request.resume();
      response.writeHead(413).end();
    });
    expect(await errorOf(client(url).pushBlob(repository, source, signal))).toMatchObject({ status: 413, retryable: false });
    expect(tries).toBe(1);
  });

  it("leaves a long Retry-After to its caller", async () => {
    const url = await listen((_request, response) => void response.writeHead(503, { "retry-after": "120" }).end());
    expect(await errorOf(client(url).pushBlob(repository, source, signal))).toMatchObject({ status: 503, retryAfterMs: 120_000 });
  });
});
