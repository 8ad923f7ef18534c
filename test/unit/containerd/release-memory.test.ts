import { describe, expect, it } from "vitest";
import { releaseMemory } from "../../../containerd/release-memory.ts";

describe("releasing the memory of chunks", () => {
  it("empties a chunk that has its memory to itself", () => {
    const chunk = new Uint8Array(64 * 1024).fill(7);
    releaseMemory(chunk);
    expect(chunk.length).toBe(0);
  });

  it("leaves a part of a larger buffer as it is, as others may look at the rest", () => {
    const whole = new Uint8Array(1000).fill(7);
    releaseMemory(whole.subarray(0, 500));
    releaseMemory(whole.subarray(500));
    releaseMemory(Buffer.from("a few bytes, out of Node's pool"));
    expect(whole.every((byte) => byte === 7)).toBe(true);
  });
});
