import { setTimeout as sleep } from "node:timers/promises";
import { BoundedMap } from "../../config/bounded-map.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";
import type { MirrorLog } from "../unpack/unpack-pushed.ts";
import type { LocationClient, Peer } from "./location-client.ts";

/** A record lives for a week in the registry. */
const againMs = 24 * 60 * 60_000;
const mostRemembered = 10_000;
/** a registry that is away for long must not have us remember all pushes of that time */
const mostWaiting = 500;
const timeoutMs = 10_000;
const defaultPausesMs: readonly number[] = [1_000, 10_000];

/** Tells the registry in the background what this host has. */
export type Announcer = AsyncDisposable & {
  /** This host has it, with all beneath it. Said once a day, however often it is called. */
  readonly has: (repository: Repository, digest: Digest) => void;
};

export function createAnnouncer(client: Pick<LocationClient, "put">, self: Peer, log: MirrorLog, pausesMs = defaultPausesMs): Announcer {
  const saidAtMs = new BoundedMap<string, number>(mostRemembered);
  const stopping = new AbortController();
  let turn: Promise<void> = Promise.resolve();
  let waiting = 0;

  async function say(repository: Repository, digest: Digest): Promise<void> {
    for (const pauseMs of [...pausesMs, undefined]) {
      stopping.signal.throwIfAborted();
      try {
        return await client.put(repository, digest, self, AbortSignal.any([stopping.signal, AbortSignal.timeout(timeoutMs)]));
      } catch (error) {
        if (pauseMs === undefined) throw error;
        await sleep(pauseMs, undefined, { signal: stopping.signal, ref: false });
      }
    }
  }

  return {
    has(repository, digest) {
      const key = `${repository}@${digest}`;
      if (stopping.signal.aborted || waiting >= mostWaiting || (saidAtMs.get(key) ?? 0) > Date.now() - againMs) return;
      saidAtMs.set(key, Date.now());
      waiting += 1;
      turn = turn
        .then(() => say(repository, digest))
        .catch((error: unknown) => {
          // the next one who reads it here says so again
          saidAtMs.delete(key);
          if (!stopping.signal.aborted) log.warn({ err: error, repository, digest }, "cannot tell other hosts that an image is here");
        })
        .finally(() => (waiting -= 1));
    },
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await turn;
    },
  };
}
