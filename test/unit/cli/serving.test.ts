import { expect, test } from "vitest";
import { servingWords, withServing } from "../../../cli/control-plane/serving.ts";
import type { AppState } from "../../../workflows/types.ts";
import { failedView } from "./views.ts";

/** An app on which the release of a run serves that began at `createdAtMs`. */
const serving = (version: number, createdAtMs: number) =>
  ({ current: { release: { version, createdAtMs }, machines: [] } }) as unknown as AppState;

test("what serves is named by its version, and by whether it did before the run", () => {
  const run = { startedAtMs: 1000 };
  expect(servingWords(serving(2, 500), run)).toBe("v2, as before");
  expect(servingWords(serving(4, 1500), run)).toBe("v4, of a newer run");
  expect(servingWords({}, run)).toBe("nothing: this app has no earlier release");
  expect(servingWords(undefined, run)).toBe("nothing: this app has no earlier release");
});

test("a failed run's error says what serves now; a run that says nothing about itself is left as it is", () => {
  const failed = { kind: "failed", code: "BUILD_FAILED", message: "no" } as const;
  const { view } = withServing({ ...failed, view: failedView }, serving(7, 0));
  expect(view?.error).toEqual({ ...failedView.error, serving: "v7, as before" });
  expect(withServing(failed, serving(7, 0))).toEqual(failed);
});
