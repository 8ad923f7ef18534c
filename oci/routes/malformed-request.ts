import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** by the code of Node's error; the spec has no code of its own for any of them */
const refusals: Readonly<Record<string, { readonly status: number; readonly message: string }>> = {
  HPE_HEADER_OVERFLOW: { status: 431, message: "request headers too large" },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, message: "request took too long to arrive" },
};
const malformed = { status: 400, message: "malformed HTTP request" };

/**
 * Answers what Node's parser refuses, before there is a request or in the middle of its body, as the spec has errors, and closes the
 * connection: where the next request would begin, nobody can say. For the option `clientErrorHandler`.
 */
export function answerMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  const pending = (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined;
  if (error.code === "ECONNRESET" || socket.destroyed || !socket.writable) return void socket.destroy();
  // without a handshake nothing can be sent, and what waits for it would keep the connection for ever
  if (error.code === "ERR_TLS_HANDSHAKE_TIMEOUT") return void socket.destroy();
  // what cannot be read comes after a request that could: that one is answered first, and is the last
  if (pending?.req.complete === true && !pending.writableFinished) return void pending.once("close", () => socket.destroy());
  // an answer that has begun cannot be taken back
  if (pending?.headersSent === true) return void socket.destroy();
  const { status, message } = refusals[error.code ?? ""] ?? malformed;
  const body = JSON.stringify({ errors: [{ code: "UNSUPPORTED", message }] });
  const headers = ["content-type: application/json; charset=utf-8", `content-length: ${Buffer.byteLength(body)}`, "connection: close"];
  socket.end(`HTTP/1.1 ${status} ${message}\r\n${headers.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}
