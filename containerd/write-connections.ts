import http2, { type ClientHttp2Session } from "node:http2";
import net from "node:net";

/** Connections into containerd for its write streams: each carries one at a time, and is used again after it. */
export type WriteConnections = Disposable & {
  take(): ClientHttp2Session;
  /** Only after a stream that ended well; any other's connection is destroyed by whoever took it. */
  giveBack(connection: ClientHttp2Session): void;
};

const idleMs = 10_000;

/** Connects when there is no idle connection. One that cannot be made shows as the failure of the stream that is opened on it. */
export function createWriteConnections(socket: string): WriteConnections {
  const idle = new Set<ClientHttp2Session>();
  const all = new Set<ClientHttp2Session>();

  function connect(): ClientHttp2Session {
    const connection = http2.connect("http://localhost", { createConnection: () => net.connect(socket) });
    all.add(connection);
    // the stream on it fails as well, and tells
    connection.on("error", () => undefined);
    connection.on("timeout", () => connection.close());
    connection.on("close", () => {
      all.delete(connection);
      idle.delete(connection);
    });
    return connection;
  }

  return {
    take() {
      for (const connection of idle) {
        idle.delete(connection);
        if (connection.closed || connection.destroyed) continue;
        connection.setTimeout(0);
        connection.ref();
        return connection;
      }
      return connect();
    },
    giveBack(connection) {
      if (connection.closed || connection.destroyed) return;
      idle.add(connection);
      connection.setTimeout(idleMs);
      connection.unref();
    },
    [Symbol.dispose]() {
      for (const connection of all) connection.destroy();
    },
  };
}
