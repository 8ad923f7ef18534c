import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { storageKeys } from "../bucket/storage-keys.ts";
import { readCandidates } from "./candidates.ts";
import { type CollectDeps, collectRecord } from "./collect-record.ts";
import { concurrently } from "../../config/concurrently.ts";
import { type GarbageCounts, addCounts, noGarbage } from "./counts.ts";

const atATime = 8;

/** The blobs of one repository that none of its manifests names: each one step further towards its end. */
export async function collectLinks(
  deps: CollectDeps,
  { repository, most }: { repository: Repository; most?: number },
  signal: AbortSignal,
): Promise<GarbageCounts> {
  const { bucket, policy } = deps;
  let counts = noGarbage;
  let last: string | undefined;
  do {
    const round = await readCandidates(
      bucket,
      storageKeys.blobs(repository),
      { policy, startAfter: last, ...(most === undefined ? {} : { most }) },
      signal,
    );
    const unreferenced = round.byDigest;
    if (unreferenced.size > 0) await dropReferenced(bucket, repository, unreferenced, signal);
    await concurrently(unreferenced.values(), atATime, async (candidate) => {
      const step = await collectRecord(deps, candidate, async () => {}, signal);
      counts = addCounts(counts, step);
    });
    ({ last } = round);
  } while (last !== undefined);
  return counts;
}

async function dropReferenced(bucket: Bucket, repository: Repository, digests: Map<Digest, unknown>, signal: AbortSignal): Promise<void> {
  await concurrently(bucket.walk(storageKeys.manifests(repository), signal), atATime, async ({ key }) => {
    const manifest = await bucket.get(key, signal);
    for (const digest of digestsIn(manifest?.bytes ?? new Uint8Array())) digests.delete(digest);
  });
}

/** Every digest that a manifest mentions, wherever: what a future type of manifest means by it is none of the collector's business. */
export function digestsIn(manifest: Uint8Array): Digest[] {
  return (Buffer.from(manifest)
    .toString("latin1")
    .match(/\bsha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})\b/g) ?? []) as Digest[];
}
