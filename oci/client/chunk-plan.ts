/** How many bytes the next chunk of an upload has. */
export type ChunkPlan = { readonly bytes: number; readonly leastBytes: number };

const smallestBytes = 16 * 1024 * 1024;
const largestBytes = 512 * 1024 * 1024;
/** A chunk ends with a round trip: on a fast link it is made long enough for that not to count. */
const shortMs = 5_000;

/** Small enough to be through before a bad link breaks; larger where the registry asks for it (`OCI-Chunk-Min-Length`). */
export function firstChunks(minLength: string | string[] | undefined): ChunkPlan {
  const asked = typeof minLength === "string" && /^\d{1,12}$/.test(minLength) ? Number(minLength) : 0;
  const leastBytes = Math.max(asked, smallestBytes);
  return { bytes: leastBytes, leastBytes };
}

/** After a chunk that took `tookMs`. */
export function nextChunks({ bytes, leastBytes }: ChunkPlan, tookMs: number): ChunkPlan {
  if (tookMs >= shortMs) return { bytes, leastBytes };
  return { bytes: Math.max(leastBytes, Math.min(bytes * 2, largestBytes)), leastBytes };
}
