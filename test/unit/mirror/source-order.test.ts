import { describe, expect, it } from "vitest";
import { createSourceOrder } from "../../../mirror/pull/source-order.ts";
import { digestOf } from "../../../oci/digest.ts";

const [one, other] = [digestOf("one"), digestOf("other")];
const sources = [{ name: "peer" }, { name: "upstream" }, { name: "public" }];
const names = (ordered: readonly { readonly name: string }[]): string => ordered.map(({ name }) => name).join(" ");

describe("the order of sources", () => {
  it("is as given", () => {
    expect(names(createSourceOrder().of(one, sources))).toBe("peer upstream public");
  });

  it("puts what broke off behind what was not asked yet, and what lied behind both", () => {
    const order = createSourceOrder();
    order.lied(one, ["peer"]);
    expect(names(order.of(one, sources, new Set(["upstream"])))).toBe("public upstream peer");
  });

  it("distrusts a liar for that blob alone, and only for a while", () => {
    let nowMs = 0;
    const order = createSourceOrder(() => nowMs);
    order.lied(one, ["peer"]);
    expect(names(order.of(other, sources))).toBe("peer upstream public");
    nowMs = 60_001;
    expect(names(order.of(one, sources))).toBe("peer upstream public");
  });
});
