import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";

/** A link to one server, over loopback, that counts what goes up and breaks when it is told to. */
export type CuttingLink = AsyncDisposable & {
  readonly url: string;
  /** bytes that clients have sent, headers included */
  sentBytes(): number;
  /** Each connection breaks after so many bytes up; undefined: none does. */
  cutEvery(bytes: number | undefined): void;
  /** After so many bytes more, over all connections, nothing goes through until `mend`. */
  breakAfter(bytes: number): void;
  mend(): void;
  /** how often a connection was cut */
  cuts(): number;
};

export async function openCuttingLink(target: string): Promise<CuttingLink> {
  const { hostname, port } = new URL(target);
  let sent = 0;
  let cuts = 0;
  let everyBytes: number | undefined;
  let brokenAt = Number.POSITIVE_INFINITY;
  const open = new Set<Socket>();
  const server = createServer((client) => {
    if (sent >= brokenAt) return void client.destroy();
    const onward = connect(Number(port), hostname);
    let through = 0;
    const cut = () => {
      cuts += 1;
      client.resetAndDestroy();
      onward.resetAndDestroy();
    };
    client.on("data", (chunk) => {
      through += chunk.length;
      sent += chunk.length;
      if (sent >= brokenAt || (everyBytes !== undefined && through >= everyBytes)) return cut();
      if (!onward.write(chunk)) {
        client.pause();
        onward.once("drain", () => client.resume());
      }
    });
    onward.pipe(client);
    client.once("end", () => onward.end());
    for (const socket of [client, onward]) {
      open.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => {
        open.delete(socket);
        client.destroy();
        onward.destroy();
      });
    }
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sentBytes: () => sent,
    cuts: () => cuts,
    cutEvery: (bytes) => void (everyBytes = bytes),
    breakAfter: (bytes) => void (brokenAt = sent + bytes),
    mend: () => void (brokenAt = Number.POSITIVE_INFINITY),
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
