import { type Hash, createHash } from "node:crypto";
import type { DigestAlgorithm } from "../../oci/digest.ts";
import type { TailCache } from "./tail-cache.ts";
import type { StoredState } from "./upload-states.ts";

/** What this process remembers of an upload: true only while the bucket's state is the one it goes with. */
export type UploadSession = {
  readonly stored: StoredState;
  /** of all that was received; absent when it was not all received here */
  readonly hash?: RunningHash;
  /** the tail's bytes, as the tail cache keeps them */
  readonly tailBytes?: Buffer;
};

export type RunningHash = { readonly algorithm: DigestAlgorithm; readonly hash: Hash };

export function startHash(algorithm: DigestAlgorithm): RunningHash {
  return { algorithm, hash: createHash(algorithm) };
}

/** Nothing but what the state says; a hash only of what is nothing yet. */
export function sessionOf(stored: StoredState): UploadSession {
  const { algorithm, parts, tail } = stored.state;
  return { stored, ...(parts.length === 0 && tail === undefined ? { hash: startHash(algorithm) } : {}) };
}

/** The sessions used last; more than `most` are forgotten, at the cost of reading their bytes once more when they end. */
export type SessionCache = {
  /** The caller has it for himself until he keeps or drops it. */
  take(id: string): UploadSession | undefined;
  keep(session: UploadSession): void;
  clear(): void;
};

export function createSessionCache({ most, tails }: { readonly most: number; readonly tails: TailCache }): SessionCache {
  const sessions = new Map<string, UploadSession>();
  const take = (id: string): UploadSession | undefined => {
    const session = sessions.get(id);
    sessions.delete(id);
    return session;
  };
  const forget = (id: string) => tails.drop(take(id)?.tailBytes);
  return {
    take,
    keep: (session) => {
      sessions.set(session.stored.id, session);
      const [oldest] = sessions.keys();
      if (sessions.size > most && oldest !== undefined) forget(oldest);
    },
    clear: () => {
      for (const id of sessions.keys()) forget(id);
    },
  };
}
