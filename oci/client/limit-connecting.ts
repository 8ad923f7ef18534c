import type { ClientRequest } from "node:http";

/** Ends the request with the error of `late` when its connection, over TLS with the handshake, takes longer. */
export function limitConnecting(request: ClientRequest, url: URL, timeoutMs: number, late: () => Error): void {
  request.once("socket", (socket) => {
    if (!socket.connecting) return;
    const timer = setTimeout(() => request.destroy(late()), timeoutMs);
    const stop = () => clearTimeout(timer);
    socket.once(url.protocol === "https:" ? "secureConnect" : "connect", stop).once("close", stop);
  });
}
