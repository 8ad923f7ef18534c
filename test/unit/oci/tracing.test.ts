import { describe, expect, it } from "vitest";
import { traceIdOf } from "../../../oci/tracing.ts";

const id = "4bf92f3577b34da6a3ce929d0e0e4736";

describe("the trace of a request", () => {
  it.each([
    [`00-${id}-00f067aa0ba902b7-01`, id],
    // a later version may say more
    [`01-${id}-00f067aa0ba902b7-01-more`, id],
    [`ff-${id}-00f067aa0ba902b7-01`, undefined],
    [`00-${"0".repeat(32)}-00f067aa0ba902b7-01`, undefined],
    [`00-${id.toUpperCase()}-00f067aa0ba902b7-01`, undefined],
    [`00-${id}-00f067aa0ba902b7`, undefined],
    ['"}, "forged": "', undefined],
    ["", undefined],
  ])("of traceparent %j is %s", (traceparent, expected) => {
    expect(traceIdOf({ traceparent })).toBe(expected);
  });

  it("is none without the header", () => {
    expect(traceIdOf({})).toBeUndefined();
  });
});
