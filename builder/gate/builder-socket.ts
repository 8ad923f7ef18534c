import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { type Socket, connect } from "node:net";

/** open(2): a handle on the place itself, whatever is there; nothing is opened for reading */
const oPath = 0o10_000_000;

/**
 * Connects to the builder's socket and to nothing that stands in its place: the folder is the builder's to write, and a link in it that leads
 * to another socket of this host must not be followed on a client's behalf. What was looked at is what is connected to.
 * @throws Error when nothing listens, or when it is no socket.
 */
export async function connectBuilder(socketPath: string, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted();
  await using place = await open(socketPath, oPath | constants.O_NOFOLLOW);
  if (!(await place.stat()).isSocket()) throw new Error(`Cannot reach the builder: "${socketPath}" is no socket`);
  const socket = connect(`/proc/self/fd/${place.fd}`);
  const stop = () => socket.destroy(new Error("Stopped waiting for the builder", { cause: signal.reason }));
  signal.addEventListener("abort", stop, { once: true });
  try {
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return socket;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
