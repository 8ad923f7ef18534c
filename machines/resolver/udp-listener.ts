import { once } from "node:events";
import dgram from "node:dgram";
import net from "node:net";
import type { Responder } from "./responder.ts";

/** One address of one org. Closing it does not wait for anybody. */
export type Listener = {
  /** it ended by itself: another one is needed */
  readonly failed: boolean;
  close(): void;
};

/** @throws an ErrnoException of bind(2), such as EADDRNOTAVAIL before the org's bridge is there */
export async function openUdpListener(address: string, port: number, responder: Responder): Promise<Listener> {
  const socket = dgram.createSocket(net.isIPv6(address) ? { type: "udp6", ipv6Only: true } : { type: "udp4" });
  let state: "open" | "failed" | "closed" = "open";
  const end = (as: "failed" | "closed") => {
    if (state !== "open") return;
    state = as;
    socket.close();
  };
  socket.bind({ address, port, exclusive: true });
  try {
    await once(socket, "listening");
  } catch (error) {
    socket.close();
    throw error;
  }
  socket.on("error", () => end("failed"));
  socket.on("message", (message, from) => {
    void responder.respond(message, "udp").then((answer) => {
      // a client that is gone by now is told nothing; from port 0 nobody can be answered
      if (answer !== undefined && state === "open" && from.port !== 0) socket.send(answer, from.port, from.address, () => undefined);
    });
  });
  return {
    get failed() {
      return state === "failed";
    },
    close: () => end("closed"),
  };
}
