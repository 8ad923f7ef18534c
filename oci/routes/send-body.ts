import type { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import { LendingBody } from "../lending-body.ts";

/** Sends a body that was announced by status and headers. A client that is slow slows the source. */
export async function sendBody(reply: FastifyReply, body: Readable): Promise<void> {
  if (body instanceof LendingBody) await sendLent(reply, body);
  else await reply.send(body);
}

async function sendLent(reply: FastifyReply, body: LendingBody): Promise<void> {
  const { raw } = reply;
  reply.hijack();
  body.lend();
  // fewer bytes than announced must not be waited for
  raw.strictContentLength = true;
  raw.once("close", () => body.destroy());
  try {
    raw.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string | string[]>);
    // what it lends is little: no need to wait for the client here. Memory is free again when the kernel has all of it.
    for await (const chunk of body) raw.write(chunk, () => body.giveBack());
    raw.end();
  } catch (error) {
    if (raw.destroyed) return;
    // too late for another answer: the client sees that bytes are missing
    raw.destroy();
    throw error;
  }
}
