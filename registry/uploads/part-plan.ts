/** What S3 allows of a multipart upload. */
export const s3Limits = {
  mostParts: 10_000,
  /** of every part but the last */
  smallestPartBytes: 5 * 1024 ** 2,
  largestPartBytes: 5 * 1024 ** 3,
  largestObjectBytes: 5 * 1024 ** 4,
} as const;

/**
 * How large the parts of an upload are. growing: they double every 1000 parts, so that few and small ones carry a usual layer and
 * 10,000 of them carry 5 TiB. uniform: all but the last are equal, as Cloudflare R2 demands; 10,000 times that is the largest blob.
 */
export type PartPlan = { readonly sizes: "growing" | "uniform"; readonly firstPartBytes: number };

const partsOfOneSize = 1000;

/** The size of a part by its number, from 1 on; never more than what one instance may hold in memory. */
export function partSizeBytes({ sizes, firstPartBytes }: PartPlan, number: number, memoryBytes: number): number {
  if (sizes === "uniform") return firstPartBytes;
  const planned = firstPartBytes * 2 ** Math.floor((number - 1) / partsOfOneSize);
  return Math.min(planned, s3Limits.largestPartBytes, Math.max(memoryBytes, firstPartBytes));
}

/**
 * Whether the bytes at hand may become a part although they are fewer than planned. Among the first 1000 they may: what those parts
 * then hold too little, the later ones make up for many times.
 */
export function mayEndEarly({ sizes }: PartPlan, number: number, sizeBytes: number): boolean {
  return sizes === "growing" && number <= partsOfOneSize && sizeBytes >= s3Limits.smallestPartBytes;
}

/** The largest blob that fits, should every part that may end early do so. */
export function capacityBytes(plan: PartPlan, memoryBytes: number): number {
  let sum = 0;
  for (let number = 1; number <= s3Limits.mostParts; number += 1) {
    const planned = partSizeBytes(plan, number, memoryBytes);
    sum += mayEndEarly(plan, number, planned) ? Math.min(planned, s3Limits.smallestPartBytes) : planned;
  }
  return Math.min(sum, s3Limits.largestObjectBytes);
}
