import { createReadStream } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type DistributionClient, UpstreamError } from "../../oci/distribution-client.ts";
import type { Repository } from "../../oci/repository.ts";
import type { SourceRef } from "../../workflows/types.ts";
import type { PackedSource } from "./pack.ts";

export type UploadedSource = { readonly source: SourceRef; readonly sentBytes: number };

/** A registry that is being restarted is back within seconds; one that is down is told to the user soon. */
const patienceMs = 15_000;
const longestPauseMs = 2_000;

/** Makes a packed source a blob of the app's repository; a source that is there already is not sent. @throws UpstreamError */
export async function uploadSource(
  registry: DistributionClient,
  repository: Repository,
  packed: PackedSource,
  signal: AbortSignal,
): Promise<UploadedSource> {
  const deadline = Date.now() + patienceMs;
  for (let pauseMs = 200; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    try {
      return await uploadOnce(registry, repository, packed, signal);
    } catch (error) {
      if (!(error instanceof UpstreamError) || !error.retryable || Date.now() + pauseMs > deadline) throw error;
      await sleep(pauseMs, undefined, { signal });
    }
  }
}

async function uploadOnce(
  registry: DistributionClient,
  repository: Repository,
  packed: PackedSource,
  signal: AbortSignal,
): Promise<UploadedSource> {
  const { digest, sizeBytes } = packed;
  const source = { repository, digest, sizeBytes };
  if ((await registry.statBlob(repository, digest, signal)) !== undefined) return { source, sentBytes: 0 };
  await registry.pushBlob(repository, { digest, sizeBytes, open: (offset) => createReadStream(packed.file, { start: offset }) }, signal);
  return { source, sentBytes: sizeBytes };
}
