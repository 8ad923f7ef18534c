import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";

/** A side that was told the other one has nothing more to say has this long to finish. */
const lastWordsMs = 10_000;

/** a side whose link was cut is noticed after this, and 10 probes a second apart */
const keepAliveMs = 30_000;

/** For a stream that may be silent for as long as it likes, and whose bytes are waited for. */
export function keepOpen(socket: Socket): void {
  socket.setTimeout(0);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, keepAliveMs);
}

/**
 * Carries bytes both ways until one side is gone, then ends the other; what was on its way arrives. Returns when neither carries anything any more,
 * whatever ended it.
 */
export async function joinSockets(client: Duplex, server: Duplex): Promise<void> {
  // two pipelines listen to each side
  for (const side of [client, server]) side.setMaxListeners(30);
  const up = pipeline(client, server).catch(() => undefined);
  const down = pipeline(server, client).catch(() => undefined);
  await Promise.race([up, down]);
  // gRPC has no half-open connections: the other direction ends by itself, or never
  const timer = setTimeout(() => destroyBoth(client, server), lastWordsMs);
  await Promise.all([up, down]);
  clearTimeout(timer);
  destroyBoth(client, server);
}

function destroyBoth(client: Duplex, server: Duplex): void {
  client.destroy();
  server.destroy();
}
