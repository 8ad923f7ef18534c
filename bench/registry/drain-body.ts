import { once } from "node:events";
import net from "node:net";

const endOfHead = "\r\n\r\n";
const bufferBytes = 1024 * 1024;

/**
 * GETs a blob, throws its body away and tells its size. On a bare socket that reads into one buffer of its own: what an HTTP client
 * costs per chunk would hide what the server can do.
 */
export async function drainBody(url: URL): Promise<number> {
  const buffer = Buffer.allocUnsafeSlow(bufferBytes);
  let head = "";
  let expectedBytes = Number.POSITIVE_INFINITY;
  let receivedBytes = 0;
  let failure: Error | undefined;

  const take = (count: number): void => {
    if (expectedBytes !== Number.POSITIVE_INFINITY) {
      receivedBytes += count;
    } else {
      const before = head.length;
      head += buffer.toString("latin1", 0, count);
      const headBytes = head.indexOf(endOfHead) + endOfHead.length;
      if (headBytes < endOfHead.length) return;
      const length = /^HTTP\/1\.1 200 [^]*\r\ncontent-length: (\d+)\r\n/i.exec(head)?.[1];
      if (length === undefined) {
        failure = new Error(`GET ${url.pathname} was answered:\n${head.slice(0, 500)}`);
        socket.destroy();
        return;
      }
      expectedBytes = Number(length);
      receivedBytes = before + count - headBytes;
    }
    if (receivedBytes >= expectedBytes) socket.end();
  };
  const onread = {
    buffer,
    callback: (count: number) => {
      take(count);
      return true;
    },
  };
  const socket = net.connect({ host: url.hostname, port: Number(url.port), onread });
  socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nConnection: close\r\n\r\n`);
  await once(socket, "close");
  if (failure !== undefined) throw failure;
  return receivedBytes;
}
