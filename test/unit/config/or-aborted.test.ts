import { expect, it } from "vitest";
import { orAborted } from "../../../config/or-aborted.ts";

it("a promise is waited for no longer than the signal lets, and its failure after that is nobody's", async () => {
  const caller = new AbortController();
  const { promise, reject } = Promise.withResolvers<never>();
  const waiting = orAborted(promise, caller.signal);
  caller.abort(new Error("gone"));
  await expect(waiting).rejects.toThrow("gone");
  reject(new Error("late"));
  await expect(orAborted(Promise.resolve(1), caller.signal)).rejects.toThrow("gone");
  expect(await orAborted(Promise.resolve(1), new AbortController().signal)).toBe(1);
});
