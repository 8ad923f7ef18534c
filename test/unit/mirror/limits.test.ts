import { once } from "node:events";
import { statfs } from "node:fs/promises";
import { type IncomingMessage, createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { describe, expect, it } from "vitest";
import { admitBody } from "../../../mirror/limits/admit-body.ts";
import { createBodyTurns } from "../../../mirror/limits/body-turns.ts";
import { createByteRate } from "../../../mirror/limits/byte-rate.ts";
import { createConnectionCounts } from "../../../mirror/limits/connection-counts.ts";
import { createMirrorLimits } from "../../../mirror/limits/mirror-limits.ts";
import { createFreeSpace } from "../../../mirror/limits/free-space.ts";
import { createOpenUploads } from "../../../mirror/limits/open-uploads.ts";
import { createOrgQuota } from "../../../mirror/limits/org-quota.ts";
import type { OrgUsage } from "../../../mirror/limits/org-usage.ts";
import { openContainerd } from "../../../containerd/client.ts";
import { deferred } from "../../../config/deferred.ts";
import { digestOf } from "../../../oci/digest.ts";
import type { DistributionTarget } from "../../../oci/routes/distribution-call.ts";
import type { DistributionStore } from "../../../oci/store.ts";

const signal = new AbortController().signal;

describe("the rate of an org's pushes", () => {
  it("lets a second's worth pass at once, and makes whoever comes after wait for what is owed", async () => {
    let nowMs = 0;
    const waits: number[] = [];
    const wait = async (forMs: number) => void waits.push(forMs);
    const rate = createByteRate(1000, { nowMs: () => nowMs, wait });
    expect(rate.take(600, signal)).toBeUndefined();
    expect(rate.take(400, signal)).toBeUndefined();
    await rate.take(500, signal);
    await rate.take(500, signal);
    expect(waits).toEqual([500, 1000]);
    nowMs += 1000;
    expect(rate.take(0, signal)).toBeUndefined();
    nowMs += 60_000;
    expect(rate.take(1000, signal)).toBeUndefined();
    await rate.take(1, signal);
    expect(waits).toEqual([500, 1000, 1]);
  });

  it("lets go of whoever goes away while he waits", async () => {
    const client = new AbortController();
    const rate = createByteRate(1);
    const waiting = rate.take(1_000_000, client.signal);
    client.abort(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
  });
});

describe("the turns of bodies", () => {
  const writes = () => undefined;

  it("go to the org that has the fewest when one is given back", async () => {
    const turns = createBodyTurns({ most: 2, quantumBytes: 100 });
    const [first, second, third, other] = [turns.of("greedy"), turns.of("greedy"), turns.of("greedy"), turns.of("modest")];
    expect(first.pass(100, writes, signal)).toBeUndefined();
    expect(second.pass(100, writes, signal)).toBeUndefined();
    const order: string[] = [];
    const later = third.pass(1, () => void order.push("greedy"), signal);
    const sooner = other.pass(1, () => void order.push("modest"), signal);
    second[Symbol.dispose]();
    first[Symbol.dispose]();
    await later;
    await sooner;
    expect(order).toEqual(["modest", "greedy"]);
  });

  it("end with their quantum when others wait, and only then", async () => {
    const turns = createBodyTurns({ most: 1, quantumBytes: 100 });
    const [first, second] = [turns.of("one"), turns.of("two")];
    for (let passed = 0; passed < 5; passed += 1) expect(first.pass(100, writes, signal)).toBeUndefined();
    const waiting = second.pass(100, writes, signal);
    const again = first.pass(1, writes, signal);
    await waiting;
    const third = second.pass(1, writes, signal);
    await again;
    first[Symbol.dispose]();
    await third;
  });

  it("end for a client that sends nothing, but not for one whose bytes containerd has not taken yet", async () => {
    const turns = createBodyTurns({ most: 2, idleMs: 5 });
    const [stuck, slow, eager, late] = ["one", "one", "two", "three"].map((org) => turns.of(org));
    const taken = deferred<void>();
    const writing = stuck!.pass(1, () => taken.promise, signal);
    expect(slow!.pass(1, writes, signal)).toBeUndefined();
    const entered: string[] = [];
    const waiting = eager!.pass(1, () => void entered.push("eager"), signal);
    const later = late!.pass(1, () => void entered.push("late"), signal);
    await waiting;
    // had the turn of the stuck one ended with that of the slow one, both would be in
    expect(entered).toEqual(["eager"]);
    taken.resolve();
    await Promise.all([writing, later]);
  });

  it("end for a client that sends a byte now and then, so that it keeps none from others", async () => {
    const turns = createBodyTurns({ most: 1, quantumMs: 20, idleMs: 60_000 });
    const dribbling = turns.of("greedy");
    expect(dribbling.pass(1, writes, signal)).toBeUndefined();
    const entered: string[] = [];
    const waiting = turns.of("modest").pass(1, () => void entered.push("modest"), signal);
    // a turn that is given back is asked for again, and then waited for
    await expect.poll(() => dribbling.pass(1, writes, signal) !== undefined).toBe(true);
    await waiting;
    expect(entered).toEqual(["modest"]);
  });

  it("are not waited for by whoever has gone away", async () => {
    const turns = createBodyTurns({ most: 1 });
    const holder = turns.of("one");
    void holder.pass(1, () => new Promise(() => undefined), signal);
    const client = new AbortController();
    const waiting = turns.of("two").pass(1, writes, client.signal);
    client.abort(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
  });
});

describe("open uploads", () => {
  it("are bounded for each org, and one that has them all leaves others their share", () => {
    const uploads = createOpenUploads({ perOrg: 4, all: 5, share: 2 });
    const opened = Array.from({ length: 4 }, () => uploads.open("greedy"));
    expect(() => uploads.open("greedy")).toThrow("too many requests");
    uploads.open("modest");
    uploads.open("modest");
    expect(() => uploads.open("modest")).toThrow("too many requests");
    for (const upload of opened) upload[Symbol.dispose]();
    // disposing twice counts once
    opened[0]![Symbol.dispose]();
    for (let more = 0; more < 2; more += 1) uploads.open("modest");
    expect(() => uploads.open("modest")).toThrow("too many requests");
  });
});

describe("an org's quota", () => {
  const usageOf = (state: { listed: number; counts: number }): OrgUsage => {
    let known: number | undefined;
    let added = 0;
    return {
      get bytes() {
        return known === undefined ? undefined : known + added;
      },
      added: (_digest, sizeBytes) => void (added += sizeBytes),
      count: async () => {
        state.counts += 1;
        added = 0;
        return (known = state.listed);
      },
    };
  };

  it("counts what is on its way, and asks containerd before it refuses", async () => {
    const state = { listed: 40, counts: 0 };
    const quota = createOrgQuota(usageOf(state), 100);
    await quota.require(60, signal);
    expect(state.counts).toBe(1);
    expect(quota.arriving(50, signal)).toBeUndefined();
    await expect(quota.require(20, signal)).rejects.toMatchObject({
      code: "QUOTA_EXCEEDED",
      status: 403,
      detail: { usedBytes: 90, moreBytes: 20, allowedBytes: 100 },
    });
    quota.stored(digestOf("layer"), 50);
    quota.gone(50);
    // pruned meanwhile, which only a listing shows
    state.listed = 10;
    await quota.require(60, signal);
    await expect(quota.arriving(91, signal)).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
  });
});

describe("the floor under the free space", () => {
  it("refuses what would go below it, and says how much is to spare", async () => {
    const floorless = createFreeSpace(["/tmp"], 0);
    await floorless.require(signal, 1);
    await expect(floorless.require(signal, 2 ** 60)).rejects.toMatchObject({
      code: "DISK_FULL",
      status: 503,
      detail: { spareBytes: expect.any(Number), neededBytes: 2 ** 60, retryAfterSeconds: 30 },
    });
    await expect(createFreeSpace(["/tmp"], 2 ** 60).require(signal)).rejects.toMatchObject({ code: "DISK_FULL" });
  });

  it("names the folder that cannot be seen", async () => {
    await expect(createFreeSpace(["/nonexistent/containerd"]).require(signal)).rejects.toThrow("/nonexistent/containerd");
  });
});

describe("manifests", () => {
  const manifest = { endpoint: { kind: "writeManifest" } } as DistributionTarget;
  const admit = (freeBytes: number) => {
    const space = createFreeSpace(["/tmp"], freeBytes);
    const limits = { admit: (moreBytes: number, limited: AbortSignal) => space.require(limited, moreBytes) };
    return admitBody(limits, manifest, {} as IncomingMessage, {} as DistributionStore);
  };

  it("may go a little beneath the floor, but cannot fill the disk", async () => {
    const { bavail, bsize } = await statfs("/tmp");
    await admit(bavail * bsize + 64 * 1024 * 1024);
    await expect(admit(2 ** 60)).rejects.toMatchObject({ code: "DISK_FULL" });
  });
});

describe("connections", () => {
  it("of one builder that runs ten builds at once have room", async () => {
    await using containerd = openContainerd("/nowhere.sock");
    const { connections } = createMirrorLimits({ containerd }).of("acme");
    const server = createServer();
    connections.watch(server);
    const excess: boolean[] = [];
    server.on("connection", (socket) => excess.push(connections.isExcess(socket)));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    // as many as bench/build counted
    const sockets = Array.from({ length: 164 }, () => connect(port, "127.0.0.1"));
    await expect.poll(() => excess.length).toBe(sockets.length);
    expect(excess).not.toContain(true);
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  it("above the bound are told apart from those that were there before, and cut off at twice the bound", async () => {
    const counts = createConnectionCounts({ orgConnections: 100, clientConnections: 2 });
    const server = createServer((request, response) => response.end(String(counts.isExcess(request.socket))));
    counts.watch(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const open = async () => {
      const socket = connect(port, "127.0.0.1").on("error", () => undefined);
      await once(socket, "connect");
      return socket;
    };
    /** "cut off" when it was closed before an answer */
    const ask = async (socket: Awaited<ReturnType<typeof open>>) => {
      let text = "";
      socket.on("data", (chunk) => void (text += String(chunk))).write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
      const closed = once(socket, "close");
      while (!/true|false/.test(text))
        if (!Buffer.isBuffer(((await Promise.race([once(socket, "data"), closed])) as unknown[])[0])) return "cut off";
      return /true|false/.exec(text)![0];
    };
    const opened = [await open(), await open(), await open()];
    expect(await Promise.all(opened.map(ask))).toEqual(["false", "false", "true"]);
    const fourth = await open();
    const fifth = connect(port, "127.0.0.1")
      .on("error", () => undefined)
      .resume();
    await once(fifth, "close");
    for (const socket of [...opened, fourth]) socket.destroy();
    const askOnce = async () => {
      const socket = await open();
      const answer = await ask(socket);
      socket.destroy();
      return answer;
    };
    await expect.poll(askOnce).toBe("false");
    server.closeAllConnections();
    server.close();
  });
});
