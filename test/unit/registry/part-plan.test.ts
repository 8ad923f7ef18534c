import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PartPlan, capacityBytes, mayEndEarly, partSizeBytes, s3Limits } from "../../../registry/uploads/part-plan.ts";

const mebibyte = 1024 ** 2;
const growing = (firstPartBytes: number): PartPlan => ({ sizes: "growing", firstPartBytes });
const uniform = (firstPartBytes: number): PartPlan => ({ sizes: "uniform", firstPartBytes });
const unlimited = Number.POSITIVE_INFINITY;

/** How many parts a blob takes when each ends as early as `endsEarly` wants it to. */
function partsOf(plan: PartPlan, blobBytes: number, memoryBytes: number, endsEarly: (number: number) => boolean): number {
  let number = 0;
  for (let left = blobBytes; left > 0;) {
    number += 1;
    const planned = partSizeBytes(plan, number, memoryBytes);
    const isShort = endsEarly(number) && mayEndEarly(plan, number, s3Limits.smallestPartBytes);
    left -= isShort ? s3Limits.smallestPartBytes : planned;
  }
  return number;
}

describe("the sizes of parts", () => {
  it.each([
    [1, 16],
    [1000, 16],
    [1001, 32],
    [2001, 64],
    [10_000, 5120],
  ])("grow: part %d of an upload that begins with 16 MiB has %d MiB", (number, expected) => {
    expect(partSizeBytes(growing(16 * mebibyte), number, unlimited)).toBe(expected * mebibyte);
  });

  it("carry any blob of up to 5 TiB in 10,000 parts, whichever of them end early", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 8, max: 1024 }),
        fc.integer({ min: 1, max: s3Limits.largestObjectBytes }),
        fc.array(fc.boolean(), { minLength: 1, maxLength: 50 }),
        (firstMebibytes, blobBytes, early) => {
          const plan = growing(firstMebibytes * mebibyte);
          return partsOf(plan, blobBytes, unlimited, (number) => early[number % early.length]!) <= s3Limits.mostParts;
        },
      ),
      { numRuns: 300, examples: [[8, s3Limits.largestObjectBytes, [true]]] },
    );
    expect(capacityBytes(growing(8 * mebibyte), unlimited)).toBe(s3Limits.largestObjectBytes);
  });

  it("stay within the memory of an instance, which bounds the largest blob", () => {
    const plan = growing(8 * mebibyte);
    for (const number of [1, 1000, 5000, 10_000]) expect(partSizeBytes(plan, number, 128 * mebibyte)).toBeLessThanOrEqual(128 * mebibyte);
    expect(capacityBytes(plan, 128 * mebibyte)).toBeGreaterThan(800 * 1024 * mebibyte);
  });

  it("are equal but for the last where S3 wants them so", () => {
    const plan = uniform(16 * mebibyte);
    for (const number of [1, 1001, 10_000]) expect(partSizeBytes(plan, number, unlimited)).toBe(16 * mebibyte);
    expect(mayEndEarly(plan, 1, 15 * mebibyte)).toBe(false);
    expect(capacityBytes(plan, unlimited)).toBe(16 * mebibyte * 10_000);
  });

  it("never fall below what S3 takes, except for the last", () => {
    expect(mayEndEarly(growing(16 * mebibyte), 1, s3Limits.smallestPartBytes - 1)).toBe(false);
    expect(mayEndEarly(growing(16 * mebibyte), 1000, s3Limits.smallestPartBytes)).toBe(true);
    expect(mayEndEarly(growing(16 * mebibyte), 1001, 20 * mebibyte)).toBe(false);
  });
});
