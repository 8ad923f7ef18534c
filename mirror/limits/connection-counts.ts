import type { Server } from "node:http";
import type { Socket } from "node:net";
import { createCounts } from "./counts.ts";

/** The connections of one org, at all of its addresses and ports. */
export type ConnectionCounts = {
  /** Counts the server's connections from now on. */
  watch(server: Server): void;
  /** Whether this one came when there were too many already. */
  isExcess(socket: Socket): boolean;
  /** how many its client has open */
  ofClient(socket: Socket): number;
};

export type ConnectionBounds = { readonly orgConnections: number; readonly clientConnections: number };

/**
 * Those above the bounds are still answered, so that a client is told to come back (429) instead of guessing; at twice the bounds
 * connections are cut off as they come. Counting begins before a byte is read: silent ones count, too.
 */
export function createConnectionCounts({ orgConnections, clientConnections }: ConnectionBounds): ConnectionCounts {
  const open = createCounts();
  const excess = new Set<string>();

  return {
    watch(server) {
      server.prependListener("connection", (socket: Socket) => {
        const client = clientOf(socket);
        const connection = connectionOf(socket);
        const counted = open.add(client);
        const [ofClient, ofOrg] = [open.of(client), open.total];
        if (ofClient > clientConnections || ofOrg > orgConnections) excess.add(connection);
        socket.once("close", () => {
          counted[Symbol.dispose]();
          excess.delete(connection);
        });
        if (ofClient > 2 * clientConnections || ofOrg > 2 * orgConnections) socket.destroy();
      });
    },
    isExcess: (socket) => excess.has(connectionOf(socket)),
    ofClient: (socket) => open.of(clientOf(socket)),
  };
}

const clientOf = (socket: Socket): string => socket.remoteAddress ?? "";

/** The same for a connection and for what came out of it by TLS. */
const connectionOf = (socket: Socket): string => [socket.localPort, socket.localAddress, socket.remotePort, socket.remoteAddress].join(" ");
