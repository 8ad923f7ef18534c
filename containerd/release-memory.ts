/**
 * Gives the memory of a chunk back at once, instead of with the next garbage collection: those that many large chunks bring about cost
 * more than all that is done with the chunks. Only for memory that is the chunk's alone; a part of a larger buffer is left as it is.
 * The chunk is empty afterwards.
 */
export function releaseMemory({ buffer, byteOffset, length }: Uint8Array): void {
  if (byteOffset !== 0 || length !== buffer.byteLength || !(buffer instanceof ArrayBuffer)) return;
  // Node 20 lacks it: a packed install runs on it
  (buffer as ArrayBuffer & { transfer?(newLength: number): ArrayBuffer }).transfer?.(0);
}
