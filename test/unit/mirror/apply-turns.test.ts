import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Room } from "../../../mirror/limits/room.ts";
import { createApplyTurns } from "../../../mirror/unpack/apply-turns.ts";

const signal = new AbortController().signal;

function gate(): { readonly opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

describe("turns for applying layers", () => {
  it("leave one to other orgs, whatever one has begun, and go to the org that has the fewest", async () => {
    const turns = createApplyTurns({ most: 3 });
    const order: string[] = [];
    const gates = Array.from({ length: 6 }, gate);
    const all = ["busy", "busy", "busy", "busy", "quiet", "late"].map((org, index) =>
      turns.take(org, signal, async () => {
        order.push(`${org} ${index}`);
        await gates[index]!.opened;
      }),
    );
    await sleep(1);
    expect(order).toEqual(["busy 0", "busy 1", "quiet 4"]);
    gates[1]!.open();
    await all[1];
    await sleep(1);
    expect(order.slice(3)).toEqual(["late 5"]);
    for (const each of gates) each.open();
    await Promise.all(all);
    expect(order.slice(4)).toEqual(["busy 2", "busy 3"]);
  });

  it("are not waited for any longer by who gives up, and come back when a task fails", async () => {
    const turns = createApplyTurns({ most: 1 });
    const first = gate();
    const running = turns.take("a", signal, async () => {
      await first.opened;
      throw new Error("task");
    });
    const caller = new AbortController();
    const waiting = turns.take("a", caller.signal, () => Promise.reject(new Error("never begun")));
    caller.abort(new Error("gave up"));
    await expect(waiting).rejects.toThrow("gave up");
    first.open();
    await expect(running).rejects.toThrow("task");
    await expect(turns.take("a", signal, async () => "next")).resolves.toBe("next");
  });

  it("end with the room's error when the disk gets short in the middle", async () => {
    let checks = 0;
    const room: Room = {
      async require() {
        checks += 1;
        if (checks > 1) throw new Error("disk is short");
      },
    };
    const turns = createApplyTurns({ room });
    const filling = turns.take(
      "a",
      signal,
      (turn) => new Promise((_, reject) => turn.addEventListener("abort", () => reject(new Error("cancelled")))),
    );
    await expect(filling).rejects.toThrow("disk is short");
    await expect(turns.take("a", signal, async () => "never")).rejects.toThrow("disk is short");
  });
});
