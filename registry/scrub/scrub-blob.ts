import { type Digest, digestAlgorithm } from "../../oci/digest.ts";
import { readRecordObject } from "../blobs/record-object.ts";
import { DamagedRecordError } from "../bucket/records.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { hashObject } from "../bucket/hash-object.ts";
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
  const content = await hashObject(bucket, record.key, digestAlgorithm(digest), signal);
  if (content?.digest === digest && content.sizeBytes === record.sizeBytes) return { blobs: 1, bytes: content.sizeBytes };
  if ((await readRecordObject(bucket, key, signal))?.record.key !== record.key) return {};
  const isQuarantined = quarantine ? await quarantineBlob(bucket, digest, found, signal) : found.life.state === "quarantined";
  return {
    blobs: 1,
    bytes: content?.sizeBytes ?? 0,
    ...damageReport({
      kind: "blob bytes",
      key: record.key,
      expected: `${digest}, ${record.sizeBytes} bytes`,
      found: content === undefined ? "nothing" : `${content.digest}, ${content.sizeBytes} bytes`,
      quarantined: isQuarantined,
    }),
  };
}
