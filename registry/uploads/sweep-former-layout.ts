import { z } from "zod";
import { digestSchema } from "../../oci/digest-schema.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { parseRecord } from "../bucket/records.ts";
import { keyOfDigest } from "./end-upload.ts";

const unlinkedRecord = z.object({ digest: digestSchema });

/**
 * What uploads of Slipway 0.1 left in a bucket: tails in `uploads/<writer>/<id>`, and in `unlinked/<writer>/<id>` the digest of bytes
 * under `bytes/<writer>/<2 hex>/<id>` that nothing named yet. Bytes that a digest names stay.
 */
export async function sweepFormerLayout(bucket: Bucket, { idleMs }: { readonly idleMs: number }, signal: AbortSignal): Promise<void> {
  const latestMs = Date.now() - idleMs;
  for await (const { key, changedAtMs } of bucket.walk("uploads/", signal)) {
    if (key.split("/").length === 3 && changedAtMs <= latestMs) await bucket.delete(key, signal);
  }
  for await (const { key, changedAtMs } of bucket.walk("unlinked/", signal)) {
    const [, writer, id] = key.split("/");
    const record = changedAtMs > latestMs ? undefined : parseRecord(unlinkedRecord, await bucket.get(key, signal));
    if (record === undefined || writer === undefined || id === undefined) continue;
    const bytes = `bytes/${writer}/${id.slice(0, 2)}/${id}`;
    if ((await keyOfDigest(bucket, record.digest, signal)) !== bytes) await bucket.delete(bytes, signal);
    await bucket.delete(key, signal);
  }
}
