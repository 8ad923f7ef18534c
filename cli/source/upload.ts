import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { concurrently, concurrentlyOrStop } from "../../config/concurrently.ts";
import { digestSchema } from "../../oci/digest-schema.ts";
import { type Digest } from "../../oci/digest.ts";
import { type DistributionClient, UpstreamError } from "../../oci/distribution-client.ts";
import { mediaTypes } from "../../oci/media-types.ts";
import type { Repository } from "../../oci/repository.ts";
import { type SourcePack, emptyConfig } from "../../oci/source-manifest.ts";
import type { SourceRef } from "../../workflows/types.ts";
import type { PackedSource } from "./pack.ts";

/** `sentBytes` of the source's `source.sizeBytes`, each once. */
export type UploadedSource = { readonly source: SourceRef; readonly sentBytes: number };

/** A registry that is being restarted is back within seconds; one that is down is told to the user soon. */
const patienceMs = 15_000;
const longestPauseMs = 2_000;
/** So many packs are in memory at once: fewer would leave a fast link idle for the two round trips that each takes. */
const sentAtOnce = 8;
const askedAtOnce = 16;
/** a registry that goes on finding something missing is broken, or somebody deletes as we send */
const mostRounds = 4;

type Upload = {
  readonly registry: DistributionClient;
  readonly repository: Repository;
  readonly packed: PackedSource;
  /** what went to the registry, whatever became of it */
  readonly sent: Map<Digest, number>;
};

/**
 * Makes a packed source an artifact of the app's repository. Its list goes first: the registry says which packs it lacks, and only these
 * are sent. @throws UpstreamError, SourceError when the source changes meanwhile
 */
export async function uploadSource(
  registry: DistributionClient,
  repository: Repository,
  packed: PackedSource,
  signal: AbortSignal,
): Promise<UploadedSource> {
  const upload = { registry, repository, packed, sent: new Map<Digest, number>() };
  const deadline = Date.now() + patienceMs;
  for (let pauseMs = 200; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    try {
      await uploadOnce(upload, signal);
      const { digest, sizeBytes } = packed;
      const sentBytes = [...upload.sent.values()].reduce((sum, bytes) => sum + bytes, 0);
      return { source: { repository, digest, sizeBytes }, sentBytes };
    } catch (error) {
      if (!(error instanceof UpstreamError) || !error.retryable || Date.now() + pauseMs > deadline) throw error;
      await sleep(pauseMs, undefined, { signal });
    }
  }
}

async function uploadOnce(upload: Upload, signal: AbortSignal): Promise<void> {
  for (let round = 1; ; round += 1) {
    const missing = await pushList(upload, round === mostRounds, signal);
    if (missing === undefined) return;
    await concurrentlyOrStop(missing, { atATime: sentAtOnce, signal }, (pack, either) => sendPack(upload, pack, either));
  }
}

/** Undefined once the registry has all of it, else what it lacks. */
async function pushList(upload: Upload, isLast: boolean, signal: AbortSignal): Promise<readonly SourcePack[] | undefined> {
  const { registry, repository, packed } = upload;
  try {
    await registry.pushManifest(repository, { kind: "digest", digest: packed.digest }, mediaTypes.imageManifest, packed.manifest, signal);
    return undefined;
  } catch (error) {
    if (isLast || !(error instanceof UpstreamError) || !isMissing(error)) throw error;
    return namedMissing(upload, error) ?? (await askForEach(upload, signal));
  }
}

/** The specification's code is the first; some registries answer with the second. */
const isMissing = ({ code }: UpstreamError): boolean => code === "MANIFEST_BLOB_UNKNOWN" || code === "BLOB_UNKNOWN";

const missingDetail = z.object({ digest: digestSchema, digests: z.array(digestSchema).optional() });

/** As our own registry names them; undefined when none of them is of this source. */
function namedMissing(upload: Upload, { detail }: UpstreamError): readonly SourcePack[] | undefined {
  const named = missingDetail.safeParse(detail).data;
  const digests: ReadonlySet<string> = new Set(named === undefined ? [] : (named.digests ?? [named.digest]));
  const missing = blobsOf(upload.packed).filter(({ digest }) => digests.has(digest));
  return missing.length === 0 ? undefined : missing;
}

async function askForEach({ registry, repository, packed }: Upload, signal: AbortSignal): Promise<readonly SourcePack[]> {
  const missing: SourcePack[] = [];
  await concurrently(blobsOf(packed), askedAtOnce, async (pack) => {
    if ((await registry.statBlob(repository, pack.digest, signal)) === undefined) missing.push(pack);
  });
  return missing;
}

async function sendPack({ registry, repository, packed, sent }: Upload, { digest, size }: SourcePack, signal: AbortSignal): Promise<void> {
  const bytes = digest === emptyConfig.digest ? emptyConfig.bytes : packed.bytesOf({ digest, size });
  const open = (offset: number) => Readable.from([bytes.subarray(offset)], { objectMode: false });
  await registry.pushBlob(repository, { digest, sizeBytes: size, open }, signal);
  if (digest !== emptyConfig.digest) sent.set(digest, size);
}

/** Each once: equal packs are one blob. */
function blobsOf({ packs }: PackedSource): readonly SourcePack[] {
  const config = { digest: emptyConfig.digest, size: emptyConfig.sizeBytes };
  return [...new Map([config, ...packs].map((pack) => [pack.digest, pack])).values()];
}
