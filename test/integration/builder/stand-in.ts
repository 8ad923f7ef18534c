import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { pack } from "tar-stream";
import { digestOf } from "../../../oci/digest.ts";

export type StandIn = AsyncDisposable & {
  /** `host:port` */
  readonly host: string;
  /** everything that was pushed, by digest or tag */
  readonly pushed: ReadonlyMap<string, Buffer>;
  /** Keeps a tar to be fetched, and answers its path: a blob's, without extension. */
  addSource(tar: Buffer): string;
  /** As a server does with connections on which nothing happens. */
  closeIdleConnections(): void;
};

/**
 * Stands where the mirror would: takes pushes of one request each, and serves sources. The project's registry and mirror have tests
 * of their own; here only the builder's side is looked at.
 */
export async function openStandIn(address = "127.0.0.1", port = 0): Promise<StandIn> {
  const sources = new Map<string, Buffer>();
  const pushed = new Map<string, Buffer>();
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://x");
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const key = url.searchParams.get("digest") ?? url.pathname.split("/").at(-1)!;
      const source = sources.get(url.pathname);
      if (source !== undefined) response.writeHead(200, { "content-type": "application/octet-stream" }).end(source);
      else if (url.pathname.startsWith("/v2/refused/")) response.writeHead(403).end();
      else if (request.method === "POST") response.writeHead(202, { location: "/v2/upload" }).end();
      else if (request.method === "PUT") {
        pushed.set(key, Buffer.concat(chunks));
        response.writeHead(201).end();
      } else response.writeHead(pushed.has(key) ? 200 : 404).end();
    });
  }).listen(port, address);
  await once(server, "listening");
  return {
    host: `${address}:${(server.address() as AddressInfo).port}`,
    pushed,
    addSource(tar) {
      const path = `/v2/acme/web/blobs/${digestOf(tar)}`;
      sources.set(path, tar);
      return path;
    },
    closeIdleConnections: () => server.closeIdleConnections(),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A tar of text and binary files; modes are those of programs. */
export async function tarOf(files: Readonly<Record<string, string | Buffer>>): Promise<Buffer> {
  const archive = pack();
  for (const [name, content] of Object.entries(files)) archive.entry({ name, mode: 0o755, mtime: new Date(0) }, content as string);
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
