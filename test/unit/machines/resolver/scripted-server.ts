import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import type { Server } from "../../../../machines/resolver/host-servers.ts";

type Script = {
  /** what is sent back, if anything: any number of datagrams */
  readonly udp: (query: Buffer) => readonly Buffer[];
  /** absent: the connection is cut */
  readonly tcp?: (query: Buffer) => Buffer;
};

export type ScriptedServer = AsyncDisposable & Server & { readonly asked: { udp: number; tcp: number } };

/** A resolver on loopback that says what it is told to, on one port over UDP and TCP. */
export async function openScriptedServer(script: Script): Promise<ScriptedServer> {
  const asked = { udp: 0, tcp: 0 };
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (bytes: Buffer) => {
      asked.tcp++;
      if (script.tcp === undefined) return socket.destroy();
      const answer = script.tcp(bytes.subarray(2));
      const length = Buffer.alloc(2);
      length.writeUInt16BE(answer.length);
      // in pieces, as TCP may
      socket.write(Buffer.concat([length, answer.subarray(0, 5)]));
      setImmediate(() => socket.write(answer.subarray(5)));
    });
  });
  const { port, socket } = await bindBoth(server);
  socket.on("message", (query, from) => {
    asked.udp++;
    for (const answer of script.udp(query)) socket.send(answer, from.port, from.address);
  });
  return {
    address: "127.0.0.1",
    port,
    asked,
    async [Symbol.asyncDispose]() {
      socket.close();
      for (const each of sockets) each.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function bindBoth(server: net.Server): Promise<{ port: number; socket: dgram.Socket }> {
  for (let attempt = 0; ; attempt++) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as net.AddressInfo;
    const socket = dgram.createSocket("udp4");
    socket.bind(port, "127.0.0.1");
    try {
      await once(socket, "listening");
      return { port, socket };
    } catch (error) {
      socket.close();
      await new Promise((resolve) => server.close(resolve));
      if (attempt === 9) throw error;
    }
  }
}
