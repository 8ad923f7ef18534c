import { expect, test } from "vitest";
import { formatDurationMs, parseDurationMs } from "../../../config/duration.ts";
import { parseMemoryMb } from "../../../config/memory-size.ts";
import { splitShellWords } from "../../../config/shell-words.ts";

test.each([
  ["5s", 5000],
  ["1m30s", 90_000],
  ["1.5h", 5_400_000],
  ["250ms", 250],
  ["10", 10_000],
  [2.5, 2500],
  ["", undefined],
  ["5 s", undefined],
  ["s", undefined],
  ["5x", undefined],
  ["-5s", undefined],
  [-1, undefined],
])("a duration of %j is %j ms", (text, ms) => expect(parseDurationMs(text)).toBe(ms));

test.each([
  [0, "0ms"],
  [849.6, "850ms"],
  [4200, "4.2s"],
  [59_960, "1m00s"],
  [65_000, "1m05s"],
])("%j ms reads %j", (ms, text) => expect(formatDurationMs(ms)).toBe(text));

test.each([
  ["512mb", 512],
  ["1GB", 1024],
  ["1.5g", 1536],
  [256, 256],
  ["0", undefined],
  ["many", undefined],
])("memory of %j is %j MiB", (text, mb) => expect(parseMemoryMb(text)).toBe(mb));

test.each([
  ["node server.js", ["node", "server.js"]],
  [`sh -c 'echo "a b"'`, ["sh", "-c", 'echo "a b"']],
  [`a\\ b "c\\"d" ''`, ["a b", 'c"d', ""]],
  ["  ", []],
])("the words of %j are %j", (text, words) => expect(splitShellWords(text)).toEqual(words));
