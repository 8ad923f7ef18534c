import { describe, expect, it } from "vitest";
import { createPartBuffers } from "../../../registry/uploads/part-buffers.ts";

const signal = new AbortController().signal;
const isSettled = async (promise: Promise<unknown>): Promise<boolean> => {
  let settled = false;
  void promise.then(() => (settled = true));
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
};

describe("part buffers", () => {
  it("lend no more than their memory, first come, first served", async () => {
    const buffers = createPartBuffers(100);
    const [first, second] = [await buffers.acquire(60, signal), await buffers.acquire(40, signal)];
    const large = buffers.acquire(70, signal);
    const small = buffers.acquire(10, signal);
    expect(buffers.wanted).toBe(true);
    buffers.release(second);
    // the small one would fit, but it came later
    expect(await isSettled(small)).toBe(false);
    buffers.release(first);
    expect((await large).length).toBe(70);
    expect((await small).length).toBe(10);
    expect(buffers.wanted).toBe(false);
  });

  it("lend more than there is to whoever is alone", async () => {
    const buffers = createPartBuffers(100);
    const one = await buffers.acquire(10, signal);
    const huge = buffers.acquire(500, signal);
    expect(await isSettled(huge)).toBe(false);
    buffers.release(one);
    expect((await huge).length).toBe(500);
  });

  it("use a buffer again", async () => {
    const buffers = createPartBuffers(100);
    const first = await buffers.acquire(50, signal);
    buffers.release(first);
    expect(await buffers.acquire(50, signal)).toBe(first);
  });

  it("forget who gave up waiting", async () => {
    const buffers = createPartBuffers(10);
    const held = await buffers.acquire(10, signal);
    const leaving = new AbortController();
    const gone = buffers.acquire(10, leaving.signal);
    const next = buffers.acquire(10, signal);
    leaving.abort(new Error("gone"));
    await expect(gone).rejects.toThrow("gone");
    buffers.release(held);
    expect((await next).length).toBe(10);
  });
});
