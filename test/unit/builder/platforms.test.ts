import { expect, test } from "vitest";
import { platformRefusal } from "../../../builder/buildkit/platforms.ts";

const ofBuilder = ["linux/amd64", "linux/amd64/v2", "linux/386", "linux/arm64"];
const refusal = (wanted: string) => platformRefusal(wanted, ofBuilder, "linux/amd64");

test.each(["linux/amd64", "linux/amd64/v1", "linux/amd64/v2", "linux/x86_64"])(
  "%s is built where builder and machines run it",
  (platform) => {
    expect(refusal(platform)).toBeUndefined();
  },
);

test("what the builder could emulate, but no machine runs, is refused with what can be had", () => {
  const possible = "expected one of linux/amd64, linux/amd64/v2";
  expect(refusal("linux/arm64")).toBe(`Cannot build for platform "linux/arm64": the machines of this host cannot run it, ${possible}`);
  expect(refusal("linux/386")).toContain("the machines of this host cannot run it");
  expect(refusal("windows/amd64")).toContain("the machines of this host cannot run it");
  expect(refusal("linux/amd64/v4")).toBe(`Cannot build for platform "linux/amd64/v4": the builder of this host cannot run it, ${possible}`);
});

test("the variant that every arm64 has need not be named", () => {
  expect(platformRefusal("linux/arm64", ["linux/arm64"], "linux/arm64")).toBeUndefined();
  expect(platformRefusal("linux/arm64/v8", ["linux/arm64"], "linux/arm64")).toBeUndefined();
});
