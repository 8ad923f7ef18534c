import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { pack } from "tar-stream";

/** The packed source of a deploy, over HTTP as the mirror gives it to the builder. */
export type SourceServer = AsyncDisposable & {
  /** Answers the URL of that source. */
  offer(source: Buffer): string;
};

const codeFiles = 100;
const codeFileBytes = 10_000;
const mtime = new Date(1_700_000_000_000);

/** An app over the base image: a megabyte of code, different with every call. */
export async function createSource(baseImage: string): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name: "Dockerfile", mtime }, `FROM ${baseImage}\nCOPY code /srv/code\nCMD ["/srv/code/main"]\n`);
  archive.entry({ name: "code/", type: "directory", mtime });
  for (let index = 0; index < codeFiles; index += 1) archive.entry({ name: `code/file-${index}`, mtime }, randomBytes(codeFileBytes));
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

export async function openSourceServer(): Promise<SourceServer> {
  const sources = new Map<string, Buffer>();
  const server = createServer((request, response) => {
    const source = sources.get(request.url ?? "");
    if (source === undefined) return void response.writeHead(404).end();
    response
      .writeHead(200, { etag: `"${request.url}"`, "content-length": source.length })
      .end(request.method === "HEAD" ? undefined : source);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    offer(source) {
      const resource = `/${createHash("sha256").update(source).digest("hex")}`;
      sources.set(resource, source);
      return `http://127.0.0.1:${port}${resource}`;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
