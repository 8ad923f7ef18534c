import { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { deferred } from "../../../config/deferred.ts";
import { BrokenBody, receiveBody } from "../../../mirror/store/receive-body.ts";

const never = new AbortController().signal;

describe("receiving a body", () => {
  it("hands on every chunk in order, and waits where it is told to", async () => {
    const found: string[] = [];
    let taking = 0;
    const take = (chunk: Uint8Array): Promise<void> | undefined => {
      expect(taking).toBe(0);
      found.push(Buffer.from(chunk).toString());
      if (found.length % 2 === 0) return undefined;
      taking += 1;
      return nextTurn().then(() => void (taking -= 1));
    };
    await receiveBody(Readable.from(["a", "b", "c", "d", "e"].map((text) => Buffer.from(text))), take, never);
    expect(found).toEqual(["a", "b", "c", "d", "e"]);
    expect(taking).toBe(0);
  });

  it("fails, and does not throw into the stream, when a chunk is refused at once", async () => {
    const body = Readable.from([Buffer.from("a"), Buffer.from("b")]);
    const refuse = (): undefined => {
      throw new Error("the writer is gone");
    };
    await expect(receiveBody(body, refuse, never)).rejects.toThrow("the writer is gone");
    expect(body.destroyed).toBe(true);
  });

  it("calls a body broken that ends before its end, after the last chunk was taken", async () => {
    const body = new Readable({ read: () => undefined });
    const room = deferred<void>();
    const receiving = receiveBody(body, () => room.promise, never);
    let over = false;
    const watched = receiving.catch((error: unknown) => {
      over = true;
      return error;
    });
    body.push(Buffer.from("half"));
    await nextTurn();
    body.destroy(new Error("the client closed the connection"));
    await nextTurn();
    expect(over).toBe(false);
    room.resolve();
    expect(await watched).toBeInstanceOf(BrokenBody);
  });

  it("fails with what the taker says, and reads no more", async () => {
    let taken = 0;
    const body = Readable.from(Array.from({ length: 10 }, () => Buffer.alloc(10)));
    const take = () => {
      taken += 1;
      return taken === 3 ? Promise.reject(new Error("no room")) : undefined;
    };
    await expect(receiveBody(body, take, never)).rejects.toThrow("no room");
    expect([taken, body.destroyed]).toEqual([3, true]);
  });

  it("breaks off when the request is given up", async () => {
    const gone = new AbortController();
    const body = new Readable({ read: () => undefined });
    const receiving = receiveBody(body, () => undefined, gone.signal);
    gone.abort();
    body.push(Buffer.from("late"));
    await expect(receiving).rejects.toBeInstanceOf(BrokenBody);
  });
});
