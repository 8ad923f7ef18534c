import { type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse, createServer, request } from "node:http";
import type { AddressInfo } from "node:net";

/** Stands in front of a registry, counts what is asked for, and cuts, changes or refuses answers as it is told. */
export type ScriptedProxy = AsyncDisposable & {
  readonly url: string;
  /** GETs of blobs: the path, and where the asked range begins */
  readonly blobs: { readonly path: string; readonly first: number }[];
  readonly script: {
    /** every connection is closed without an answer */
    isDown: boolean;
    /** the next blob is cut off after so many bytes */
    cutNextAfterBytes?: number | undefined;
    /** the next blob that is longer stands still after so many bytes */
    stallNextAfterBytes?: number | undefined;
    /** a byte of every blob is changed */
    lies: boolean;
    /** a byte of the next manifest that is read is changed */
    liesAboutNextManifest?: boolean;
    /** the next request hears this and no more */
    refuseNext?: { readonly status: number; readonly headers: OutgoingHttpHeaders } | undefined;
  };
  /** Breaks off every answer that is on its way. */
  drop(): void;
};

export async function startScriptedProxy(registryUrl: string): Promise<ScriptedProxy> {
  const blobs: { path: string; first: number }[] = [];
  const script: ScriptedProxy["script"] = { isDown: false, lies: false };

  function pass(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const url = new URL(incoming.url ?? "/", registryUrl);
    const isBlob = incoming.method === "GET" && url.pathname.includes("/blobs/");
    const isManifest = incoming.method === "GET" && url.pathname.includes("/manifests/");
    const isFalse = (isBlob && script.lies) || (isManifest && script.liesAboutNextManifest === true);
    if (isManifest) script.liesAboutNextManifest = false;
    if (isBlob) blobs.push({ path: url.pathname, first: Number(/bytes=(\d+)/.exec(incoming.headers.range ?? "")?.[1] ?? 0) });
    const cutAfterBytes = isBlob ? (script.cutNextAfterBytes ?? Infinity) : Infinity;
    if (isBlob) script.cutNextAfterBytes = undefined;
    const upstream = request(url, { method: incoming.method ?? "GET", headers: { ...incoming.headers, host: url.host } }, (answer) => {
      const isStalled = isBlob && Number(answer.headers["content-length"]) > (script.stallNextAfterBytes ?? Infinity);
      const stallAfterBytes = isStalled ? script.stallNextAfterBytes! : Infinity;
      if (isStalled) script.stallNextAfterBytes = undefined;
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      let sentBytes = 0;
      answer.on("data", (chunk: Buffer) => {
        if (isFalse && sentBytes === 0) chunk[0] = chunk[0]! ^ 1;
        const part = chunk.subarray(0, Math.min(cutAfterBytes, stallAfterBytes) - sentBytes);
        sentBytes += part.length;
        outgoing.write(part, () => {
          if (sentBytes >= cutAfterBytes) outgoing.destroy();
        });
      });
      answer.once("end", () => {
        if (sentBytes < Math.min(cutAfterBytes, stallAfterBytes)) outgoing.end();
      });
    });
    upstream.once("error", () => outgoing.destroy());
    incoming.pipe(upstream);
  }

  const server = createServer((incoming, outgoing) => {
    const refusal = script.refuseNext;
    script.refuseNext = undefined;
    if (script.isDown) incoming.destroy();
    else if (refusal !== undefined) outgoing.writeHead(refusal.status, refusal.headers).end();
    else pass(incoming, outgoing);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    blobs,
    script,
    drop: () => server.closeAllConnections(),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
