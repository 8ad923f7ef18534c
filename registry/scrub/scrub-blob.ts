import { createHash } from "node:crypto";
import { type Digest, digestAlgorithm } from "../../oci/digest.ts";
import type { BlobRecord } from "../blobs/record-life.ts";
import { readRecordObject } from "../blobs/record-object.ts";
import { DamagedRecordError } from "../bucket/records.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { storageKeys } from "../bucket/storage-keys.ts";
import { quarantineBlob } from "./quarantine.ts";
import { type ScrubReport, damageReport } from "./report.ts";

export type ScrubDeps = {
  readonly bucket: Bucket;
  /** take damaged bytes out of use, so that a push brings them again */
  readonly quarantine: boolean;
};

/** Reads the bytes of one digest and hashes them; what the collector removes meanwhile is no damage. */
export async function scrubBlob({ bucket, quarantine }: ScrubDeps, digest: Digest, signal: AbortSignal): Promise<Partial<ScrubReport>> {
  const key = storageKeys.digest(digest);
  const found = await readRecordObject(bucket, key, signal).catch((error: unknown) => {
    if (error instanceof DamagedRecordError) return error;
    throw error;
  });
  if (found instanceof DamagedRecordError) {
    return damageReport({ kind: "blob record", key, expected: "a record of ours", found: "something else", quarantined: false });
  }
  if (found === undefined || found.life.state === "dying") return {};
  const { record } = found;
  const content = await hashBytes(bucket, record, digest, signal);
  if (content.digest === digest && content.sizeBytes === record.sizeBytes) return { blobs: 1, bytes: content.sizeBytes };
  if ((await readRecordObject(bucket, key, signal))?.record.key !== record.key) return {};
  const isQuarantined = quarantine ? await quarantineBlob(bucket, digest, found, signal) : found.life.state === "quarantined";
  return {
    blobs: 1,
    bytes: content.sizeBytes,
    ...damageReport({
      kind: "blob bytes",
      key: record.key,
      expected: `${digest}, ${record.sizeBytes} bytes`,
      found: content.digest === undefined ? "nothing" : `${content.digest}, ${content.sizeBytes} bytes`,
      quarantined: isQuarantined,
    }),
  };
}

async function hashBytes(
  bucket: Bucket,
  { key }: BlobRecord,
  digest: Digest,
  signal: AbortSignal,
): Promise<{ readonly digest: string | undefined; readonly sizeBytes: number }> {
  const body = await bucket.stream(key, undefined, signal);
  if (body === undefined) return { digest: undefined, sizeBytes: 0 };
  const hash = createHash(digestAlgorithm(digest));
  let sizeBytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    hash.update(chunk);
    sizeBytes += chunk.length;
  }
  return { digest: `${digestAlgorithm(digest)}:${hash.digest("hex")}`, sizeBytes };
}
