import { createHash } from "node:crypto";
import type { Digest, DigestAlgorithm } from "../../oci/digest.ts";
import type { Bucket } from "./bucket.ts";

export type HashedObject = { readonly digest: Digest; readonly sizeBytes: number };

/** Reads a whole object and hashes it; undefined when there is none. */
export async function hashObject(
  bucket: Bucket,
  key: string,
  algorithm: DigestAlgorithm,
  signal: AbortSignal,
): Promise<HashedObject | undefined> {
  const body = await bucket.stream(key, undefined, signal);
  if (body === undefined) return undefined;
  const hash = createHash(algorithm);
  let sizeBytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    hash.update(chunk);
    sizeBytes += chunk.length;
  }
  return { digest: `${algorithm}:${hash.digest("hex")}` as Digest, sizeBytes };
}
