import { setTimeout as sleep } from "node:timers/promises";
import { BoundedMap } from "../../config/bounded-map.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";
import type { LocationClient, Peer } from "./location-client.ts";

/** What is known of where images are. Never rejects, and never keeps a pull waiting for long. */
export type LocationBook = {
  /** Undefined when nobody can tell now. */
  readonly find: (repository: Repository, digest: Digest) => Promise<readonly Peer[] | undefined>;
  /** All hosts that were ever found, the last ones first: to be asked on the chance when nobody can tell. */
  readonly known: () => readonly Peer[];
  /** The host does not have it, though it said so. */
  readonly remove: (repository: Repository, digest: Digest, host: string) => void;
};

export type LocationTimes = {
  /** a pull waits no longer for an answer; what comes later serves the next question */
  readonly waitMs?: number;
  readonly freshMs?: number;
  /** how soon "nobody has it" may be wrong */
  readonly absentFreshMs?: number;
  /** a registry that did not answer is not asked again */
  readonly downMs?: number;
};

const questionTimeoutMs = 3_000;
const mostRemembered = 2_000;
const mostKnown = 32;

type Entry = { readonly peers: readonly Peer[]; readonly freshUntilMs: number };

export function createLocationBook(client: Pick<LocationClient, "find" | "remove">, times: LocationTimes = {}): LocationBook {
  const { waitMs = 300, freshMs = 10_000, absentFreshMs = 2_000, downMs = 5_000 } = times;
  const entries = new BoundedMap<string, Entry>(mostRemembered);
  const asking = new Map<string, Promise<void>>();
  const hosts = new BoundedMap<string, Peer>(mostKnown);
  let downUntilMs = 0;

  async function ask(key: string, repository: Repository, digest: Digest): Promise<void> {
    try {
      const peers = await client.find(repository, digest, AbortSignal.timeout(questionTimeoutMs));
      entries.set(key, { peers, freshUntilMs: Date.now() + (peers.length === 0 ? absentFreshMs : freshMs) });
      for (const peer of peers) hosts.set(peer.host, peer);
    } catch {
      downUntilMs = Date.now() + downMs;
    } finally {
      asking.delete(key);
    }
  }

  return {
    async find(repository, digest) {
      const key = `${repository}@${digest}`;
      const isFresh = () => (entries.get(key)?.freshUntilMs ?? 0) > Date.now();
      if (!isFresh() && Date.now() >= downUntilMs) {
        const question = asking.get(key) ?? ask(key, repository, digest);
        asking.set(key, question);
        const done = new AbortController();
        await Promise.race([question, sleep(waitMs, undefined, { signal: done.signal, ref: false }).catch(() => undefined)]);
        done.abort();
      }
      const entry = entries.get(key);
      // what was absent a while ago tells nothing
      return entry === undefined || (entry.peers.length === 0 && !isFresh()) ? undefined : entry.peers;
    },
    known: () => [...hosts.values()].toReversed(),
    remove(repository, digest, host) {
      const key = `${repository}@${digest}`;
      const entry = entries.get(key);
      if (!entry?.peers.some((peer) => peer.host === host)) return;
      entries.set(key, { ...entry, peers: entry.peers.filter((peer) => peer.host !== host) });
      client.remove(repository, digest, host, AbortSignal.timeout(questionTimeoutMs)).catch(() => undefined);
    },
  };
}
