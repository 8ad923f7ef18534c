import { once } from "node:events";
import net from "node:net";

const endOfHead = Buffer.from("\r\n\r\n");

export type RequestRate = { readonly perSecond: number; readonly medianMs: number };

/**
 * One request over and over on `connections` keep-alive connections for `seconds`. Speaks just enough HTTP for answers with a
 * Content-Length, on bare sockets: an HTTP client would be as expensive as the server that is measured.
 */
export async function requestRate(
  method: "HEAD" | "GET",
  url: URL,
  { connections, seconds, accept }: { connections: number; seconds: number; accept: string },
): Promise<RequestRate> {
  const request = Buffer.from(`${method} ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nAccept: ${accept}\r\n\r\n`);
  const tookMs: number[] = [];
  const endsAt = performance.now() + seconds * 1000;

  const connection = async (): Promise<void> => {
    const socket = net.connect({ host: url.hostname, port: Number(url.port), noDelay: true });
    await once(socket, "connect");
    let sentAt = performance.now();
    let unread: Buffer = Buffer.alloc(0);
    const next = () => {
      sentAt = performance.now();
      if (sentAt > endsAt) socket.end();
      else socket.write(request);
    };
    socket.on("data", (chunk: Buffer) => {
      unread = unread.length === 0 ? chunk : Buffer.concat([unread, chunk]);
      const headBytes = unread.indexOf(endOfHead) + endOfHead.length;
      if (headBytes < endOfHead.length) return;
      const head = unread.toString("latin1", 0, headBytes);
      if (!head.startsWith("HTTP/1.1 200")) return void socket.destroy(new Error(`${method} ${url.pathname} was answered:\n${head}`));
      const bodyBytes = method === "HEAD" ? 0 : Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1]);
      if (unread.length < headBytes + bodyBytes) return;
      tookMs.push(performance.now() - sentAt);
      unread = unread.subarray(headBytes + bodyBytes);
      next();
    });
    next();
    await once(socket, "close");
  };

  const startedAt = performance.now();
  await Promise.all(Array.from({ length: connections }, connection));
  const perSecond = (tookMs.length / (performance.now() - startedAt)) * 1000;
  return { perSecond, medianMs: tookMs.toSorted((a, b) => a - b)[Math.floor(tookMs.length / 2)] ?? Number.NaN };
}
