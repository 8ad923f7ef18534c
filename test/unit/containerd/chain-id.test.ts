import { describe, expect, it } from "vitest";
import { chainIds } from "../../../containerd/chain-id.ts";
import { digestOf } from "../../../oci/digest.ts";

describe("chainIds", () => {
  const [a, b, c] = ["a", "b", "c"].map((text) => digestOf(text)) as [
    ReturnType<typeof digestOf>,
    ReturnType<typeof digestOf>,
    ReturnType<typeof digestOf>,
  ];

  it("has none for an image without layers", () => {
    expect(chainIds([])).toEqual([]);
  });

  it("starts with the first layer's own diff id", () => {
    expect(chainIds([a])).toEqual([a]);
  });

  it("hashes the chain below and the next diff id, as image-spec config.md says", () => {
    const ab = digestOf(`${a} ${b}`);
    expect(chainIds([a, b, c])).toEqual([a, ab, digestOf(`${ab} ${c}`)]);
  });

  it("tells the same layers in another order apart", () => {
    expect(chainIds([a, b]).at(-1)).not.toBe(chainIds([b, a]).at(-1));
  });
});
