import { describe, expect, it } from "vitest";
import { createLocationBook } from "../../../mirror/peers/location-book.ts";
import type { Peer } from "../../../mirror/peers/location-client.ts";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";

const repository = parseRepository("acme/web");
const digest = digestOf("image");
const other = digestOf("other");
const peer: Peer = { host: "a", url: "http://a" };

function book(answer: () => Promise<readonly Peer[]>, times = {}) {
  const asked: string[] = [];
  const removed: string[] = [];
  const client = {
    find: async (_repository: unknown, about: string) => {
      asked.push(about);
      return answer();
    },
    remove: async (_repository: unknown, _digest: unknown, host: string) => void removed.push(host),
  };
  return { asked, removed, ...createLocationBook(client, times) };
}

describe("the book of locations", () => {
  it("asks once for those who want to know the same at the same time, and remembers the answer", async () => {
    const { asked, find } = book(async () => [peer]);
    expect(await Promise.all([find(repository, digest), find(repository, digest)])).toEqual([[peer], [peer]]);
    expect(await find(repository, digest)).toEqual([peer]);
    expect(asked).toEqual([digest]);
  });

  it("remembers for a while that nobody has it", async () => {
    const { asked, find } = book(async () => [], { absentFreshMs: 60_000 });
    expect(await find(repository, digest)).toEqual([]);
    expect(await find(repository, digest)).toEqual([]);
    expect(asked).toHaveLength(1);
  });

  it("keeps nobody waiting for an answer that does not come, and has it for the next when it comes late", async () => {
    const { promise, resolve } = Promise.withResolvers<readonly Peer[]>();
    const { find } = book(() => promise, { waitMs: 1 });
    expect(await find(repository, digest)).toBeUndefined();
    resolve([peer]);
    await promise;
    expect(await find(repository, digest)).toEqual([peer]);
  });

  it("asks a registry that failed nothing more for a while, and goes by what it knows", async () => {
    let isUp = true;
    const { asked, find, known } = book(async () => (isUp ? [peer] : Promise.reject(new Error("down"))), { freshMs: 0 });
    await find(repository, digest);
    isUp = false;
    expect(await find(repository, digest)).toEqual([peer]);
    expect(await find(repository, other)).toBeUndefined();
    expect(known()).toEqual([peer]);
    expect(asked).toEqual([digest, digest]);
  });

  it("forgets a host that does not have it, here and in the registry, and only what was found there", async () => {
    const { removed, find, remove } = book(async () => [peer]);
    remove(repository, digest, "a");
    expect(removed).toEqual([]);
    await find(repository, digest);
    remove(repository, digest, "a");
    expect(await find(repository, digest)).toEqual([]);
    expect(removed).toEqual(["a"]);
  });
});
