import type { ContainerdNamespace } from "../../containerd/client.ts";
import { listBlobs } from "../../containerd/content.ts";
import type { Digest } from "../../oci/digest.ts";

export type OrgUsage = {
  /** What is stored as far as is known, without asking; undefined before the first count. */
  readonly bytes: number | undefined;
  /** Counts what was just stored, until the next listing does. */
  added(digest: Digest, sizeBytes: number): void;
  /** What containerd has now. Listings are not made side by side, nor more often than every second. */
  count(signal: AbortSignal): Promise<number>;
};

const freshMs = 1_000;

/**
 * How much an org's namespace holds, each content once: a listing, and what came since. It forgets nothing by itself, so what was removed
 * shows with the next listing; containerd is the one who knows, also after a restart.
 */
export function createOrgUsage(ns: ContainerdNamespace): OrgUsage {
  let listedBytes: number | undefined;
  let listedAtMs = -Infinity;
  let since = new Map<Digest, number>();
  let sinceBytes = 0;
  let listing: Promise<number> | undefined;

  async function list(signal: AbortSignal): Promise<number> {
    const before = since;
    since = new Map();
    let bytes = 0;
    try {
      for await (const { sizeBytes } of listBlobs(ns, [], signal)) bytes += sizeBytes;
    } catch (error) {
      since = new Map([...before, ...since]);
      sinceBytes = sum(since);
      throw error;
    }
    listedBytes = bytes;
    listedAtMs = performance.now();
    // what came in the middle may have been listed already: it is counted twice until the next listing, and not too little
    sinceBytes = sum(since);
    return bytes + sinceBytes;
  }

  return {
    get bytes() {
      return listedBytes === undefined ? undefined : listedBytes + sinceBytes;
    },
    added(digest, sizeBytes) {
      if (since.has(digest)) return;
      since.set(digest, sizeBytes);
      sinceBytes += sizeBytes;
    },
    async count(signal) {
      if (listedBytes !== undefined && performance.now() - listedAtMs < freshMs) return listedBytes + sinceBytes;
      listing ??= list(signal).finally(() => (listing = undefined));
      return await listing;
    },
  };
}

const sum = (sizes: ReadonlyMap<Digest, number>): number => [...sizes.values()].reduce((total, size) => total + size, 0);
