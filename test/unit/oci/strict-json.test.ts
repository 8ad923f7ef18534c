import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseStrictJson } from "../../../oci/strict-json.ts";

const parse = (text: string) => parseStrictJson(Buffer.from(text));

describe("parseStrictJson", () => {
  it("reads what JSON.stringify writes", () => {
    const shallow = fc.jsonValue({ maxDepth: 4 }).filter(hasOnlySafeNumbers);
    fc.assert(
      fc.property(shallow, fc.constantFrom(undefined, 2, "\t"), (value, space) => {
        const text = JSON.stringify(value, undefined, space);
        expect(parse(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  it("takes nothing that JSON.parse refuses, and says so by a SyntaxError", () => {
    const mutated = fc.tuple(fc.json(), fc.nat(), fc.constantFrom("", '"', "\\", ",", "}", "]", "\u0000", "0", "e", "-"));
    fc.assert(
      fc.property(mutated, ([text, at, change]) => {
        const cut = text.length === 0 ? 0 : at % text.length;
        const broken = text.slice(0, cut) + change + text.slice(cut + 1);
        try {
          expect(JSON.parse(broken)).toEqual(parse(broken));
        } catch (error) {
          expect(error).toBeInstanceOf(SyntaxError);
        }
      }),
    );
  });

  it.each([
    ['{"a":1,"a":2}', 'the key "a" once'],
    ['{"a":{"b":1,"c":[],"b":2}}', 'the key "b" once'],
    ["9007199254740992", "2^53 - 1"],
    ["-1e400", "2^53 - 1"],
    ["01", "the end"],
    ["[1,]", "a value"],
    ['{"a" 1}', '":"'],
    ["{'a':1}", "a string"],
    ['"a', "a string that ends"],
    ['"\\"', "a string that ends"],
    ["", "a value"],
    ["NaN", "a value"],
    [`${"[".repeat(4_000_000)}`, "32 levels"],
  ])("refuses %.40s", (text, expected) => {
    expect(() => parse(text)).toThrow(
      expect.objectContaining({ name: "SyntaxError", message: expect.stringContaining(expected) as string }) as Error,
    );
  });

  it("gives a key of any name to the object itself", () => {
    expect(Object.keys(parse('{"__proto__":{"x":1}}') as object)).toEqual(["__proto__"]);
  });
});

function hasOnlySafeNumbers(value: unknown): boolean {
  if (typeof value === "number") return Math.abs(value) <= Number.MAX_SAFE_INTEGER;
  return typeof value !== "object" || value === null || Object.values(value).every(hasOnlySafeNumbers);
}
