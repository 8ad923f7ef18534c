import { createKeyedQueue } from "../../config/keyed-queue.ts";
import type { Repository } from "../../oci/repository.ts";

/**
 * Turns to change what a repository names. containerd's image records have no compare-and-swap; the mirror alone writes those of an
 * org's repositories, so that what is read in a turn is still so when it is written.
 */
export type RepositoryTurns = {
  /** Changes one repository, alone. A client that goes away does not end it in the middle; a minute does. */
  change<T>(repository: Repository, task: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /** Counts deletions in any repository: of what was seen before the last one, something may be missing. */
  readonly deletions: number;
  deleting(): void;
};

const turnTimeoutMs = 60_000;

export function createRepositoryTurns(): RepositoryTurns {
  const queue = createKeyedQueue();
  let deletions = 0;
  return {
    change: (repository, task) => queue(repository, () => task(AbortSignal.timeout(turnTimeoutMs))),
    get deletions() {
      return deletions;
    },
    deleting: () => void (deletions += 1),
  };
}
