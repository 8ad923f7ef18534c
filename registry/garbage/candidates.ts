import type { Digest } from "../../oci/digest.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { digestOfKey } from "../bucket/storage-keys.ts";
import { type GarbagePolicy, youngestCandidateMs } from "./policy.ts";

/** about 30 MB: a round looks at the records of so many digests, and a pass makes as many rounds as it needs */
export const mostCandidates = 100_000;

export type Candidate = { readonly key: string; readonly changedAtMs: number };
export type Candidates = {
  readonly byDigest: Map<Digest, Candidate>;
  /** the last key that was listed; the next round goes on behind it. Undefined when this was the last round. */
  readonly last: string | undefined;
};

/** One round: the records under a prefix that are old enough to be garbage, in the order of their keys. */
export async function readCandidates(
  bucket: Bucket,
  prefix: string,
  { policy, startAfter, most = mostCandidates }: { policy: GarbagePolicy; startAfter: string | undefined; most?: number },
  signal: AbortSignal,
): Promise<Candidates> {
  const byDigest = new Map<Digest, Candidate>();
  for await (const { key, changedAtMs } of bucket.walk(prefix, signal, startAfter)) {
    const digest = digestOfKey(key);
    if (digest === undefined || changedAtMs > youngestCandidateMs(policy)) continue;
    byDigest.set(digest, { key, changedAtMs });
    if (byDigest.size >= most) return { byDigest, last: key };
  }
  return { byDigest, last: undefined };
}
