import { expect, test } from "vitest";
import { exitCodeOf, type Outcome } from "../../../cli/exit-codes.ts";
import { deployErrorCodes } from "../../../workflows/types.ts";

test.each<[Outcome, number]>([
  [{ kind: "done" }, 0],
  [{ kind: "unexpected" }, 1],
  [{ kind: "usage" }, 2],
  [{ kind: "failed", code: "UNEXPECTED" }, 1],
  [{ kind: "failed", code: "CONFIG_INVALID" }, 2],
  [{ kind: "failed", code: "BUILD_FAILED" }, 3],
  [{ kind: "failed", code: "IMAGE_FAILED" }, 4],
  [{ kind: "failed", code: "DEPLOY_UNHEALTHY" }, 6],
  [{ kind: "failed", code: "ROLLOUT_FAILED" }, 6],
  [{ kind: "failed", code: "SUPERSEDED" }, 9],
  [{ kind: "failed", code: "CANCELLED" }, 9],
  [{ kind: "control plane unreachable" }, 10],
  [{ kind: "failed", code: "BUILDER_UNAVAILABLE" }, 11],
  [{ kind: "not replicated" }, 12],
  [{ kind: "damaged" }, 13],
  [{ kind: "wait expired" }, 124],
  [{ kind: "interrupted" }, 130],
])("%j ends the process with %d", (outcome, code) => expect(exitCodeOf(outcome)).toBe(code));

test("every code that a deploy can fail with has an exit code above 0", () => {
  for (const code of deployErrorCodes) expect(exitCodeOf({ kind: "failed", code })).toBeGreaterThan(0);
});
