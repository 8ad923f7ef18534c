import type { Readable } from "node:stream";
import { DistributionError } from "../errors.ts";
import { manifestLimitBytes } from "../manifest.ts";
import { readWholeBody } from "./request-body.ts";

/** Nearly all manifests are shorter; what is longer, or does not say, is counted. */
const shortBytes = 64 * 1024;
/** With the longest manifests that makes 64 MiB. */
const mostLong = 16;
const bodyTimeoutMs = 60_000;

let long = 0;

/**
 * A manifest's bytes, in bounded memory however many come at once and however slowly.
 * @throws DistributionError MANIFEST_TOO_LARGE; TOOMANYREQUESTS for a long one while many are read; MANIFEST_INVALID when it does not come.
 */
export async function readManifestBody(contentLength: string | undefined, open: () => Readable): Promise<Uint8Array> {
  const declaredBytes = Number(contentLength ?? Number.POSITIVE_INFINITY);
  if (contentLength !== undefined && declaredBytes > manifestLimitBytes) throw tooLarge();
  if (declaredBytes <= shortBytes) return await readInTime(open());
  if (long >= mostLong) throw new DistributionError("TOOMANYREQUESTS", { manifests: long });
  long += 1;
  try {
    return await readInTime(open());
  } finally {
    long -= 1;
  }
}

async function readInTime(body: Readable): Promise<Uint8Array> {
  const late = new DistributionError("MANIFEST_INVALID", { reason: `it did not come within ${bodyTimeoutMs / 1000} s` });
  const timer = setTimeout(() => body.destroy(late), bodyTimeoutMs);
  try {
    const bytes = await readWholeBody(body, manifestLimitBytes);
    if (bytes === undefined) throw tooLarge();
    return bytes;
  } finally {
    clearTimeout(timer);
  }
}

const tooLarge = (): DistributionError => new DistributionError("MANIFEST_TOO_LARGE", { limitBytes: manifestLimitBytes });
