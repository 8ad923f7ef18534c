import fc from "fast-check";
import type { FastifyReply, FastifyRequest } from "fastify";
import { describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { DistributionError } from "../../../oci/errors.ts";
import { formatReceived, parseChunkRange, parseRangeHeader } from "../../../oci/routes/byte-range.ts";
import { allowsRange, isKnownToClient, replacementRule } from "../../../oci/routes/conditions.ts";
import { announceNextPage, longestPage, parsePage } from "../../../oci/routes/pages.ts";

const codeOf = (act: () => unknown): unknown => {
  try {
    return act();
  } catch (error) {
    expect(error).toBeInstanceOf(DistributionError);
    return (error as DistributionError).code;
  }
};

describe("Range", () => {
  it.each([
    ["bytes=0-4", { first: 0, last: 4 }],
    ["bytes=7-", { first: 7 }],
    ["bytes=-5", { suffixBytes: 5 }],
    [" bytes=1-1 ", { first: 1, last: 1 }],
    [undefined, undefined],
    ["bytes=0-1,3-4", undefined],
    ["bytes=-", undefined],
    ["items=0-4", undefined],
    ["bytes=0x1-2", undefined],
    [`bytes=0-${"9".repeat(40)}`, undefined],
    ["bytes=5-4", "RANGE_INVALID"],
  ])("%j asks for %j", (header, expected) => {
    expect(codeOf(() => parseRangeHeader(header))).toEqual(expected);
  });

  it("never asks for what is not a range, whatever the header", () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^bytes=\d{0,20}-\d{0,20}$/));
    fc.assert(
      fc.property(text, (header) => {
        const asked = codeOf(() => parseRangeHeader(header));
        if (asked === undefined || asked === "RANGE_INVALID") return;
        const { first = 0, last = first, suffixBytes = 0 } = asked as { first?: number; last?: number; suffixBytes?: number };
        for (const number of [first, last, suffixBytes]) expect(Number.isSafeInteger(number) && number >= 0).toBe(true);
        expect(first).toBeLessThanOrEqual(last);
      }),
    );
  });
});

describe("Content-Range of a chunk", () => {
  it.each([
    ["10-19", "10", { first: 10 }],
    ["bytes 10-19/100", undefined, { first: 10 }],
    ["bytes=0-0/*", "1", { first: 0 }],
    [undefined, "10", undefined],
    ["10-19", "11", "SIZE_INVALID"],
    ["ten", "10", "RANGE_INVALID"],
    ["10-", undefined, "RANGE_INVALID"],
    ["19-10", undefined, "RANGE_INVALID"],
  ])("%j with a length of %j begins at %j", (header, length, expected) => {
    expect(codeOf(() => parseChunkRange(header, length))).toEqual(expected);
  });

  it("gives an offset or a spec error, whatever the header", () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^(bytes )?\d{0,20}-\d{0,20}(\/\d*)?$/));
    fc.assert(
      fc.property(text, fc.option(fc.stringMatching(/^\d{1,6}$/), { nil: undefined }), (header, length) => {
        const parsed = codeOf(() => parseChunkRange(header, length));
        if (typeof parsed !== "string") expect(Number.isSafeInteger((parsed as { first: number }).first)).toBe(true);
        else expect(["RANGE_INVALID", "SIZE_INVALID"]).toContain(parsed);
      }),
    );
  });

  it("tells what was received", () => {
    expect([0, 1, 10].map(formatReceived)).toEqual(["0-0", "0-0", "0-9"]);
  });
});

describe("conditions", () => {
  const digest = digestOf("entity");
  const other = digestOf("other");
  const known = (headers: Record<string, string>) => codeOf(() => isKnownToClient({ headers } as unknown as FastifyRequest, digest));

  it.each([
    [{}, false],
    [{ "if-none-match": `"${digest}"` }, true],
    [{ "if-none-match": digest }, true],
    [{ "if-none-match": `W/"${digest}"` }, true],
    [{ "if-none-match": `"${other}", "${digest}"` }, true],
    [{ "if-none-match": "*" }, true],
    [{ "if-none-match": `"${other}"` }, false],
    [{ "if-match": `"${digest}"` }, false],
    [{ "if-match": "*" }, false],
    [{ "if-match": `W/"${digest}"` }, "PRECONDITION_FAILED"],
    [{ "if-match": `"${other}"` }, "PRECONDITION_FAILED"],
    [{ "if-match": `"${digest}"`, "if-none-match": `"${digest}"` }, true],
  ])("%j is %j", (headers, expected) => {
    expect(known(headers)).toBe(expected);
  });

  it.each([
    [{ "if-none-match": "*" }, [true, false, false]],
    [{ "if-none-match": `"${digest}"` }, [true, false, true]],
    [{ "if-match": "*" }, [false, true, true]],
    [{ "if-match": `"${digest}"` }, [false, true, false]],
    [{ "if-match": `W/"${digest}"` }, [false, false, false]],
    [{ "if-match": "*", "if-none-match": `"${digest}"` }, [false, false, true]],
  ])("%j lets a push replace nothing, this, another: %j", (headers, expected) => {
    const rule = replacementRule({ headers } as unknown as FastifyRequest)!;
    expect([undefined, digest, other].map(rule)).toEqual(expected);
    expect(replacementRule({ headers: {} } as unknown as FastifyRequest)).toBeUndefined();
  });

  it("serves a range only of the entity that If-Range names", () => {
    const allowed = (ifRange?: string) => allowsRange({ headers: { "if-range": ifRange } } as unknown as FastifyRequest, digest);
    expect([undefined, `"${digest}"`, `"${other}"`, `W/"${digest}"`, "Tue, 24 Nov 2026 00:00:00 GMT"].map(allowed)).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});

describe("pages", () => {
  const linkOf = (...args: [path: string, page: { limit?: number; last?: string }, more?: Record<string, string | undefined>]): string => {
    let link = "";
    announceNextPage({ header: (_name: string, value: string) => (link = value) } as unknown as FastifyReply, ...args);
    return link;
  };

  it.each([
    ["n=10&last=a", { limit: 10, last: "a" }],
    ["n=0", { limit: 0 }],
    ["last=", { limit: longestPage, last: "" }],
    ["", { limit: longestPage }],
    ["n=999999999", { limit: longestPage }],
    ["n=x", "PAGE_INVALID"],
    ["n=-1", "PAGE_INVALID"],
    ["n=", "PAGE_INVALID"],
    [`n=${"1".repeat(16)}`, "PAGE_INVALID"],
  ])("%j asks for %j", (query, expected) => {
    expect(codeOf(() => parsePage(new URLSearchParams(query)))).toEqual(expected);
  });

  it("leads to the page that it announces, whatever the names", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }).filter((text) => text.isWellFormed()),
        fc.nat(10_000),
        (last, limit) => {
          const link = linkOf("/v2/a/tags/list", { limit, last }, { artifactType: last, absent: undefined });
          const match = /^<(\/v2\/a\/tags\/list\?[\x21-\x7e]*)>; rel="next"$/.exec(link);
          const { searchParams } = new URL(match![1]!, "http://registry");
          expect(parsePage(searchParams)).toEqual({ limit, last });
          expect(searchParams.get("artifactType")).toBe(last);
          expect(searchParams.has("absent")).toBe(false);
        },
      ),
    );
  });
});
