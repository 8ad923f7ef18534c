/** Whether containerd's disk may take more. */
export type Room = {
  /** @throws DistributionError when less is free than must stay so */
  require(signal: AbortSignal): Promise<void>;
};

const pollMs = 500;

/** Runs a task that fills the disk, and ends it when that gets short: what a layer unpacks to is known only after. */
export async function whileRoom<T>(room: Room, signal: AbortSignal, task: (signal: AbortSignal) => Promise<T>): Promise<T> {
  await room.require(signal);
  const short = new AbortController();
  const timer = setInterval(() => {
    room.require(signal).catch((error: unknown) => short.abort(error));
  }, pollMs);
  try {
    return await task(AbortSignal.any([signal, short.signal]));
  } catch (error) {
    throw short.signal.aborted && !signal.aborted ? short.signal.reason : error;
  } finally {
    clearInterval(timer);
  }
}
