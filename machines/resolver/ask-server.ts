import { randomInt } from "node:crypto";
import dgram from "node:dgram";
import net from "node:net";
import type { Server } from "./host-servers.ts";
import { answers, framed, isTruncated, withId } from "./wire.ts";

/**
 * Asks one resolver, over TCP as well when the answer does not fit into a datagram. The answer has the id of `query`.
 * @throws Error when it does not answer before `signal` fires, or cannot be reached
 */
export async function askServer(server: Server, query: Buffer, signal: AbortSignal): Promise<Buffer> {
  // with the random port of a new socket: what an attacker would have to guess
  const asked = withId(query, randomInt(0x10000));
  const answer = await askOverUdp(server, asked, signal);
  const whole = isTruncated(answer) ? await askOverTcp(server, asked, signal).catch(() => answer) : answer;
  return withId(whole, query.readUInt16BE(0));
}

function askOverUdp({ address, port }: Server, query: Buffer, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = dgram.createSocket(net.isIPv6(address) ? "udp6" : "udp4");
    const end = (settle: () => void) => {
      signal.removeEventListener("abort", abort);
      socket.removeAllListeners("message");
      socket.close();
      settle();
    };
    let ended = false;
    const once = (settle: () => void) => {
      if (ended) return;
      ended = true;
      end(settle);
    };
    const abort = () => once(() => reject(signal.reason as Error));
    // what comes after the end is nobody's
    socket.on("error", (error) => once(() => reject(error)));
    socket.on("message", (message) => {
      if (answers(query, message)) once(() => resolve(message));
    });
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort);
    // connected: the kernel drops what others send, and tells that nobody listens there
    socket.connect(port, address, (error?: Error) => {
      if (ended) return;
      if (error !== undefined) return once(() => reject(error));
      socket.send(query, (sendError) => {
        if (sendError !== null) once(() => reject(sendError));
      });
    });
  });
}

function askOverTcp({ address, port }: Server, query: Buffer, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: address, port, signal });
    let received = Buffer.alloc(0);
    const end = (settle: () => void) => {
      socket.destroy();
      settle();
    };
    socket.on("error", (error) => end(() => reject(error)));
    socket.once("close", () => reject(new Error(`"${address}" ended the connection before its answer`)));
    socket.once("connect", () => socket.write(framed(query)));
    socket.on("data", (part: Buffer) => {
      received = Buffer.concat([received, part]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const answer = received.subarray(2, 2 + received.readUInt16BE(0));
      if (answers(query, answer)) end(() => resolve(answer));
      else end(() => reject(new Error(`"${address}" answered another question`)));
    });
  });
}
