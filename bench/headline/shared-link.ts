import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export type SharedLink = AsyncDisposable & { readonly address: string };

/** So much may pass at once after a pause: a router's buffer. */
const burstSeconds = 0.02;

/**
 * A TCP proxy whose connections share one bandwidth, for each direction. Toxiproxy limits every connection for itself, and a push has
 * four: behind it alone a link of 100 Mbit/s would carry 400.
 */
export async function openSharedLink(upstream: { readonly host: string; readonly port: number }, mbit: number): Promise<SharedLink> {
  const sockets = new Set<Socket>();
  const up = createPace(mbit);
  const down = createPace(mbit);
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    const far = connect({ ...upstream, noDelay: true, allowHalfOpen: true });
    for (const socket of [client, far]) {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      // the other side hears of it by the end of the copy
      socket.on("error", () => undefined);
    }
    void Promise.allSettled([copy(client, far, up), copy(far, client, down)]).then(() => {
      client.destroy();
      far.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

async function copy(from: Socket, to: Socket, pace: (bytes: number) => Promise<void>): Promise<void> {
  try {
    for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      await pace(chunk.length);
      if (!to.write(chunk)) await once(to, "drain");
    }
    to.end();
  } catch (error) {
    to.destroy();
    throw error;
  }
}

/** Resolves when that many bytes have passed, after all that were asked for before. */
function createPace(mbit: number): (bytes: number) => Promise<void> {
  const bytesPerMs = (mbit * 1_000_000) / 8 / 1_000;
  let freeAtMs = 0;
  return async (bytes) => {
    const nowMs = performance.now();
    freeAtMs = Math.max(freeAtMs, nowMs - burstSeconds * 1_000) + bytes / bytesPerMs;
    const waitMs = freeAtMs - nowMs;
    if (waitMs >= 1) await sleep(waitMs);
  };
}
