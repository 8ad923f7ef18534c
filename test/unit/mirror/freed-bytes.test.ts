import { describe, expect, it } from "vitest";
import { type OrgGraph, freedBytes } from "../../../mirror/prune/freed-bytes.ts";

/** Images a and b share `base` and its snapshot; each has a layer of its own. */
function graph(roots: readonly string[] = []): OrgGraph {
  const edges = new Map([
    ["content a", ["content base", "content la", "snapshot top-a"]],
    ["content b", ["content base", "content lb", "snapshot top-b"]],
    ["snapshot top-a", ["snapshot low"]],
    ["snapshot top-b", ["snapshot low"]],
  ]);
  const sizes = new Map([
    ["content base", 100],
    ["content la", 10],
    ["content lb", 20],
    ["snapshot low", 1000],
    ["snapshot top-a", 1],
    ["snapshot top-b", 2],
  ]);
  return { edges, sizes, roots };
}

const of = (org: string, digest: string) => ({ org, digest });

describe("the bytes that a removal makes free", () => {
  it("are those that no image which stays has", () => {
    expect(freedBytes(new Map([["acme", graph()]]), [of("acme", "a")], [of("acme", "b")])).toEqual([11]);
  });

  it("are counted once when several that go share them", () => {
    expect(freedBytes(new Map([["acme", graph()]]), [of("acme", "a"), of("acme", "b")], [])).toEqual([1111, 22]);
  });

  it("are none of what a container or lease holds", () => {
    expect(freedBytes(new Map([["acme", graph(["snapshot top-a", "content a"])]]), [of("acme", "a"), of("acme", "b")], [])).toEqual([
      0, 22,
    ]);
  });

  it("are the content of several orgs only when none of them has it any more, but each org's own snapshots", () => {
    const graphs = new Map([
      ["acme", graph()],
      ["other", graph()],
    ]);
    expect(freedBytes(graphs, [of("acme", "a")], [of("other", "a")])).toEqual([1001]);
    expect(freedBytes(graphs, [of("acme", "a"), of("other", "a")], [])).toEqual([1111, 1001]);
  });
});
