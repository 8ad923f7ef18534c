import { describe, expect, it } from "vitest";
import { createAnswerReader } from "../../../containerd/answer-reader.ts";

const framed = (text: string): Buffer => {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(text.length, 1);
  return Buffer.concat([prefix, Buffer.from(text)]);
};

describe("reading the answers of a write stream", () => {
  it("finds the same messages however the bytes are cut", () => {
    const bytes = Buffer.concat(["one", "", "three"].map(framed));
    for (let size = 1; size <= bytes.length; size += 1) {
      const found: string[] = [];
      const read = createAnswerReader((message) => found.push(Buffer.from(message).toString()));
      for (let start = 0; start < bytes.length; start += size) read(bytes.subarray(start, start + size));
      expect(found).toEqual(["one", "", "three"]);
    }
  });
});
