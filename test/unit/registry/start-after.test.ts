import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { startAfter } from "../../../registry/bucket/storage-keys.ts";

describe("startAfter", () => {
  it("begins a listing where the client's text stands among the names, whatever the text", () => {
    const names = fc.uniqueArray(fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,6}$/), { maxLength: 30 });
    const last = fc.oneof(
      fc.string({ unit: "binary", maxLength: 6 }),
      fc
        .tuple(
          fc.stringMatching(/^[a-z]{0,4}$/),
          fc.constantFrom("\u0000", "\t", "\u007f", "~", "é", "😀"),
          fc.stringMatching(/^[a-z]{0,3}$/),
        )
        .map((parts) => parts.join("")),
      fc.stringMatching(/^[a-zA-Z0-9_.-]{0,6}$/),
    );
    fc.assert(
      fc.property(names, last, (all, text) => {
        const from = startAfter("tags/", text);
        // S3 takes any text that XML can carry
        expect(from).toMatch(/^[\x20-\x7e]*$/);
        expect(all.filter((name) => `tags/${name}` > from)).toEqual(all.filter((name) => name > text));
      }),
      { numRuns: 300 },
    );
  });
});
