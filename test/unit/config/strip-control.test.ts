import { describe, expect, test } from "vitest";
import { lineLimitBytes, presentableLine, stripControl } from "../../../config/strip-control.ts";

describe("stripping control characters", () => {
  test.each([
    ["\u001b[31mred\u001b[0m", "red"],
    ["a\u001b[31mb\u001b[0m", "ab"],
    ["\u001b]0;title\u0007text", "text"],
    ["\u001b]8;;http://evil\u001b\\link\u001b]8;;\u001b\\", "link"],
    ["\u001b]8;;http://x\u0007link\u001b]8;;\u0007", "link"],
    ["\u009b2Jcleared", "cleared"],
    ["\u009b31mx\u202ey", "xy"],
    ["bell\u0007, back\b, return\r", "bell, back, return"],
    ["bell\u0007 and\u0000 null", "bell and null"],
    ["\u001bcreset", "reset"],
    ["\u001bP1;2|payload\u001b\\after", "after"],
    ["grüße 日本", "grüße 日本"],
    ["tab\tstays", "tab\tstays"],
    ["tab\tand\nnewline stay", "tab\tand\nnewline stay"],
    ["a\u2028b\u2066c", "abc"],
    ["10%\r50%\r100%", "100%"],
    ["10%\u001b[K\r100%\u001b[K\r", "100%"],
    ["windows\r\nlines\r\n", "windows\nlines\n"],
    ["cut off \u001b[", "cut off "],
  ])("%j becomes %j", (text, expected) => {
    expect(stripControl(text)).toBe(expected);
  });

  test("a line is a line: newlines go", () => {
    expect(presentableLine("a\r\nb\tc\u0008")).toBe("ab\tc");
  });

  test("a line is cut at 16 KiB without breaking a character", () => {
    const line = presentableLine("ä".repeat(20_000));
    expect(Buffer.byteLength(line)).toBeLessThanOrEqual(lineLimitBytes + 3);
    expect(line).not.toContain("\ufffd");
  });
});
