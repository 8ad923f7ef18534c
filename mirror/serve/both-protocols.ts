import type { Server } from "node:http";
import type { Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { tlsVersions } from "../../config/tls/keep-certificate-fresh.ts";
import type { TlsPair } from "../../config/tls/tls-files.ts";

export type BothOptions = {
  /** the certificate to show now */
  readonly pair: () => Promise<TlsPair>;
  /** a connection says within this time what it speaks, and a handshake takes no longer either */
  readonly timeoutMs: number;
  readonly onError: (error: unknown) => void;
};

/** The first byte of a TLS handshake (RFC 8446, 5.1: ContentType handshake); no method of HTTP begins with it. */
const handshakeByte = 0x16;

/**
 * Lets an HTTP server speak TLS on the same port to those who begin with it. What comes out of TLS is a connection of the same server,
 * so its limits and its end hold for both. Disposing cuts off who has not said yet what it speaks.
 */
export function speakBoth(server: Server, { pair, timeoutMs, onError }: BothOptions): Disposable {
  const serveHttp = server.listeners("connection") as ((socket: Socket) => void)[];
  const undecided = new Set<Socket>();
  const secure = createTlsServer({ ...tlsVersions, ALPNProtocols: ["http/1.1"], handshakeTimeout: timeoutMs });
  let shown: TlsPair | undefined;

  const serve = (socket: Socket) => {
    undecided.delete(socket);
    for (const listener of serveHttp) listener.call(server, socket);
  };

  async function secured(socket: Socket): Promise<void> {
    const current = await pair();
    if (current !== shown) secure.setSecureContext({ ...current, ...tlsVersions });
    shown = current;
    if (!socket.destroyed) secure.emit("connection", socket);
  }

  secure.on("secureConnection", (socket) => serve(socket));
  secure.on("tlsClientError", (_error, socket) => socket.destroy());
  server.removeAllListeners("connection");
  server.on("connection", (socket) => {
    undecided.add(socket);
    socket.once("close", () => undecided.delete(socket));
    firstByte(socket, timeoutMs, (byte) => {
      if (byte !== handshakeByte) return serve(socket);
      secured(socket).catch((error: unknown) => {
        socket.destroy();
        onError(error);
      });
    });
  });
  return {
    [Symbol.dispose]() {
      for (const socket of undecided) socket.destroy();
    },
  };
}

/** Looks at the first byte and leaves it in the socket. A client that sends none in time is cut off, and so is one that ends before. */
function firstByte(socket: Socket, timeoutMs: number, decide: (byte: number) => void): void {
  const timer = setTimeout(() => socket.destroy(), timeoutMs).unref();
  const onReadable = () => {
    const chunk = socket.read(1) as Buffer | null;
    if (chunk === null) return;
    stop();
    socket.unshift(chunk);
    decide(chunk[0]!);
  };
  const onEnd = () => socket.destroy();
  const stop = () => {
    clearTimeout(timer);
    socket.off("readable", onReadable).off("end", onEnd).off("close", stop);
  };
  // one that goes away while it is looked at is no failure of ours; later on its server listens
  socket.on("error", onEnd);
  socket.on("readable", onReadable).on("end", onEnd).on("close", stop);
}
