import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";

const highWaterMarkBytes = 256 * 1024;

/** How long the rest of a refused body is read and thrown away, so that a client which reads only after sending still sees the answer. */
const drainTimeoutMs = 30_000;

/** A client that has not sent {@link leastBytes} in so long, though we would read them, is cut off; it may resume its upload. */
const silentBodyMs = 30_000;
/** half a kilobyte a second: less is no link but somebody who wants to keep a connection busy */
const leastBytes = 16 * 1024;

/**
 * The body of a request as a stream that may be destroyed without taking the connection with it: a store that gives up in the middle
 * must still be answered for. Back-pressure reaches the client's socket; `onBytes` hears of each chunk. It breaks off, connection
 * and all, when too few bytes come for `silentMs` while some are wanted.
 */
export function openRequestBody(
  request: IncomingMessage,
  onBytes: (count: number) => void,
  silentMs = silentBodyMs,
  least = leastBytes,
): Readable {
  let silence: NodeJS.Timeout | undefined;
  let sinceExpectedBytes = 0;
  const cutOff = () => {
    body.destroy(new Error(`Cannot read request body: the client sent ${sinceExpectedBytes} bytes in ${silentMs / 1000} s`));
    request.destroy();
  };
  const expectBytes = () => {
    sinceExpectedBytes = 0;
    silence = silence?.refresh() ?? setTimeout(cutOff, silentMs).unref();
  };
  const body = new Readable({
    highWaterMark: highWaterMarkBytes,
    read: () => {
      if (silence === undefined) expectBytes();
      request.resume();
    },
    destroy: (error, done) => {
      clearTimeout(silence);
      detach();
      request.pause();
      done(error);
    },
  });
  const onData = (chunk: Buffer) => {
    onBytes(chunk.length);
    sinceExpectedBytes += chunk.length;
    if (body.push(chunk)) {
      if (sinceExpectedBytes >= least) expectBytes();
      return;
    }
    clearTimeout(silence);
    silence = undefined;
    request.pause();
  };
  const onEnd = () => {
    clearTimeout(silence);
    body.push(null);
  };
  const onError = (error: Error) => body.destroy(error);
  const onClose = () => {
    if (!request.complete) body.destroy(new Error("Cannot read request body: the client closed the connection before its end"));
  };
  const detach = () => {
    request.off("data", onData).off("end", onEnd).off("error", onError).off("close", onClose);
    // a client that goes away later must not become an uncaught exception
    request.on("error", () => {});
  };
  request.on("end", onEnd).on("error", onError).on("close", onClose);
  if (request.destroyed) onClose();
  else if (request.readableEnded) onEnd();
  request.on("data", onData);
  request.pause();
  return body;
}

/** Reads a body that nobody wanted to its end; closes the connection when the client takes too long. */
export function drainRequest(request: IncomingMessage): void {
  if (request.readableEnded || request.destroyed) return;
  const timer = setTimeout(() => request.socket.destroy(), drainTimeoutMs).unref();
  const stop = () => clearTimeout(timer);
  request.on("error", stop).once("end", stop).once("close", stop);
  request.resume();
}

/** Whether a request announces a body (RFC 9112, 6). */
export function announcesBody(request: IncomingMessage): boolean {
  return request.headers["transfer-encoding"] !== undefined || Number(request.headers["content-length"] ?? 0) > 0;
}

/** The whole body, or undefined as soon as it proves longer than `limitBytes`. */
export async function readWholeBody(body: Readable, limitBytes: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > limitBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
