import { createHash } from "node:crypto";
import { once } from "node:events";
import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request as httpRequest } from "node:http";
import { drainBody } from "./drain-body.ts";
import { inParallel } from "./in-parallel.ts";
import { type Layer, layerOf } from "./layers.ts";

/** How a client sends a blob: as docker and crane do (one PATCH of unknown length, then PUT), or by POST and PUT alone. */
export type PushMode = "patch" | "put";
export type Image = { readonly repository: string; readonly tag: string; readonly layers: readonly Layer[] };

/** The least a client can do, so that what is measured is the registry: it hashes nothing, and throws away what it reads. */
export type LoadClient = Disposable & {
  push(image: Image, mode: PushMode, parallel: number): Promise<void>;
  /** The layers alone, without config and manifest. */
  pushBlobs(image: Pick<Image, "repository" | "layers">, mode: PushMode, parallel: number): Promise<void>;
  pushManifest(repository: string, tag: string, mediaType: string, bytes: Buffer): Promise<void>;
  /** Reads the manifest and all layers. @returns bytes of layers */
  pull(image: Pick<Image, "repository" | "tag">, parallel: number): Promise<number>;
  /** Reads one layer back and compares it with its digest. */
  verify(repository: string, layer: Layer): Promise<void>;
};

const manifestType = "application/vnd.oci.image.manifest.v1+json";

export function createLoadClient(registryUrl: string): LoadClient {
  const agent = new Agent({ keepAlive: true });

  const send = async (method: string, path: string | URL, options: RequestOptions = {}, body?: Iterable<Buffer>) => {
    const url = new URL(path, registryUrl);
    const request = httpRequest(url, { agent, method, ...options });
    const answered = once(request, "response") as Promise<[IncomingMessage]>;
    await Promise.all([body === undefined ? request.end() : write(request, body), answered]);
    return (await answered)[0];
  };
  const expectStatus = async (status: number, what: string, answer: IncomingMessage): Promise<IncomingMessage> => {
    if (answer.statusCode === status) return answer;
    const text = Buffer.concat(await answer.toArray()).toString();
    throw new Error(`${what} was answered ${answer.statusCode}, expected ${status}: ${text.slice(0, 300)}`);
  };
  const call = async (status: number, ...args: Parameters<typeof send>) => {
    const answer = await expectStatus(status, `${args[0]} ${String(args[1])}`, await send(...args));
    for await (const _ of answer);
    return answer;
  };

  const pushBlob = async (repository: string, layer: Layer, mode: PushMode): Promise<void> => {
    await call(404, "HEAD", `/v2/${repository}/blobs/${layer.digest}`);
    const started = await call(202, "POST", `/v2/${repository}/blobs/uploads/`, { headers: { "content-length": 0 } });
    let location = new URL(started.headers.location!, registryUrl);
    const headers = { "content-type": "application/octet-stream" };
    if (mode === "patch") {
      const answer = await call(202, "PATCH", location, { headers }, layer.chunks());
      location = new URL(answer.headers.location!, registryUrl);
    }
    location.searchParams.set("digest", layer.digest);
    if (mode === "patch") await call(201, "PUT", location, { headers: { "content-length": 0 } });
    else await call(201, "PUT", location, { headers: { ...headers, "content-length": layer.sizeBytes } }, layer.chunks());
  };
  const pushManifest = async (repository: string, tag: string, mediaType: string, bytes: Buffer): Promise<void> => {
    const headers = { "content-type": mediaType, "content-length": bytes.length };
    await call(201, "PUT", `/v2/${repository}/manifests/${tag}`, { headers }, [bytes]);
  };
  return {
    pushManifest,
    pushBlobs: ({ repository, layers }, mode, parallel) => inParallel(parallel, layers, (layer) => pushBlob(repository, layer, mode)),
    push: async ({ repository, tag, layers }, mode, parallel) => {
      const config = layerOf(Buffer.from(JSON.stringify({ architecture: "amd64", os: "linux", made: performance.now(), repository })));
      await inParallel(parallel, layers, (layer) => pushBlob(repository, layer, mode));
      await pushBlob(repository, config, mode);
      const describe = (mediaType: string, { digest, sizeBytes }: Layer) => ({ mediaType, digest, size: sizeBytes });
      const manifest = {
        schemaVersion: 2,
        mediaType: manifestType,
        config: describe("application/vnd.oci.image.config.v1+json", config),
        layers: layers.map((layer) => describe("application/vnd.oci.image.layer.v1.tar", layer)),
      };
      await pushManifest(repository, tag, manifestType, Buffer.from(JSON.stringify(manifest)));
    },
    pull: async ({ repository, tag }, parallel) => {
      const answer = await send("GET", `/v2/${repository}/manifests/${tag}`, { headers: { accept: manifestType } });
      const bytes = Buffer.concat(await (await expectStatus(200, "GET of the manifest", answer)).toArray());
      const { layers } = JSON.parse(bytes.toString()) as { layers: { digest: string; size: number }[] };
      let sizeBytes = 0;
      await inParallel(parallel, layers, async ({ digest, size }) => {
        const found = await drainBody(new URL(`/v2/${repository}/blobs/${digest}`, registryUrl));
        if (found !== size) throw new Error(`Layer ${digest} came with ${found} bytes, expected ${size}`);
        sizeBytes += found;
      });
      return sizeBytes;
    },
    verify: async (repository, { digest }) => {
      const answer = await send("GET", `/v2/${repository}/blobs/${digest}`);
      const hash = createHash("sha256");
      for await (const chunk of answer as AsyncIterable<Buffer>) hash.update(chunk);
      const found = `sha256:${hash.digest("hex")}`;
      if (found !== digest) throw new Error(`Layer ${digest} came back as ${found}`);
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}

async function write(request: ClientRequest, body: Iterable<Buffer>): Promise<void> {
  for (const chunk of body) {
    if (!request.write(chunk) && !request.destroyed) await once(request, "drain");
  }
  request.end();
}
