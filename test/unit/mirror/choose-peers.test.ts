import { describe, expect, it } from "vitest";
import { choosePeers } from "../../../mirror/peers/choose-peers.ts";

const peers = (...hosts: string[]) => hosts.map((host) => ({ host, url: `http://${host}` }));
const choose = (hosts: readonly string[], avoided: readonly string[] = []) =>
  choosePeers(peers(...hosts), "me", ({ host }) => avoided.includes(host)).map(({ host }) => host);

describe("the choice of hosts to pull from", () => {
  it("keeps the order, asks each host once and never this one", () => {
    expect(choose(["a", "me", "b", "a"])).toEqual(["a", "b"]);
  });
  it("leaves out those that failed a moment ago, and takes the next instead", () => {
    expect(choose(["a", "b", "c", "d"], ["a"])).toEqual(["b", "c", "d"]);
  });
  it("is three at most", () => {
    expect(choose(["a", "b", "c", "d", "e"])).toEqual(["a", "b", "c"]);
  });
  it("is nobody when all failed", () => {
    expect(choose(["a"], ["a"])).toEqual([]);
  });
});
