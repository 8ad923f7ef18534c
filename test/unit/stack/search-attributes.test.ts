import { describe, expect, it } from "vitest";
import { createCommand, planSearchAttributes } from "../../../stack/temporal/search-attributes.ts";

const all = { SlipwayOrg: 2, SlipwayApp: 2, SlipwayStage: 2, SlipwayDigest: 2 };

describe("the search attributes of a namespace", () => {
  it("are complete when all are Keywords, whatever else is there", () => {
    expect(planSearchAttributes({ ...all, CustomerId: 3 })).toEqual({ missing: [], mistyped: [] });
  });

  it("are created when they are missing", () => {
    const { SlipwayStage: _, ...others } = all;
    expect(planSearchAttributes(others)).toEqual({ missing: ["SlipwayStage"], mistyped: [] });
    expect(planSearchAttributes({}).missing).toEqual(Object.keys(all));
  });

  it("are refused when they are of another type", () => {
    expect(planSearchAttributes({ ...all, SlipwayOrg: 3, SlipwayApp: 99 }).mistyped).toEqual([
      { name: "SlipwayOrg", found: "Int" },
      { name: "SlipwayApp", found: "99" },
    ]);
  });

  it("are created by one command line", () => {
    expect(createCommand({ address: "temporal:7233", namespace: "prod" }, ["SlipwayOrg", "SlipwayApp"])).toBe(
      "temporal operator search-attribute create --address temporal:7233 --namespace prod --name SlipwayOrg --type Keyword --name SlipwayApp --type Keyword",
    );
  });
});
