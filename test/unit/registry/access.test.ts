import { describe, expect, it } from "vitest";
import { parseDistributionPath } from "../../../oci/distribution-path.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { allows, cutToGrant, parseScopes, requiredAccess } from "../../../oci/access.ts";
import { formatChallenge } from "../../../registry/auth/challenge.ts";
import { createFailedLogins } from "../../../oci/routes/failed-logins.ts";

const digest = `sha256:${"a".repeat(64)}`;

describe("requiredAccess", () => {
  it.each([
    ["GET", "/v2/", undefined],
    ["GET", `/v2/acme/web/blobs/${digest}`, "pull"],
    ["HEAD", `/v2/acme/web/blobs/${digest}`, "pull"],
    ["GET", "/v2/acme/web/manifests/v1", "pull"],
    ["HEAD", "/v2/acme/web/manifests/v1", "pull"],
    ["GET", "/v2/acme/web/tags/list", "pull"],
    ["GET", `/v2/acme/web/referrers/${digest}`, "pull"],
    ["DELETE", "/v2/acme/web/manifests/v1", "delete"],
    ["DELETE", `/v2/acme/web/manifests/${digest}`, "delete"],
    ["DELETE", `/v2/acme/web/blobs/${digest}`, "delete"],
    ["PUT", "/v2/acme/web/manifests/v1", "push"],
    ["POST", "/v2/acme/web/blobs/uploads/", "push"],
    ["GET", "/v2/acme/web/blobs/uploads/a", "push"],
    ["PATCH", "/v2/acme/web/blobs/uploads/a", "push"],
    ["PUT", "/v2/acme/web/blobs/uploads/a", "push"],
    ["DELETE", "/v2/acme/web/blobs/uploads/a", "push"],
  ])("of %s %s is %s", (method, path, action) => {
    const needed = requiredAccess(method, parseDistributionPath(method, path)!);
    expect(needed).toEqual(action === undefined ? undefined : { repository: "acme/web", action });
  });

  it("of anything that removes is delete, whatever endpoints there will be", () => {
    const endpoint = { kind: "statBlob", repository: parseRepository("acme/web"), digest } as never;
    expect(requiredAccess("DELETE", endpoint)?.action).toBe("delete");
    expect(requiredAccess("BREW", endpoint)?.action).toBe("push");
  });
});

describe("scopes", () => {
  it("of one repository are joined, and those of nothing known ask for nothing", () => {
    const asked = ["repository:acme/web:push", "repository:acme/web:pull repository:acme/api:*", "repository:acme/x:fly", "catalog", ""];
    expect(parseScopes(asked)).toEqual([
      { repository: "acme/web", actions: ["pull", "push"] },
      { repository: "acme/api", actions: ["pull", "push", "delete"] },
      { repository: "acme/x", actions: [] },
    ]);
  });

  it("are cut to the grant: org by component, app with what is below it, actions by name", () => {
    const asked = parseScopes(
      ["acme/web", "acme/web/sub", "acme/webs", "acmes/web", "acme"].map((name) => `repository:${name}:pull,push`),
    )!;
    const names = (within: Parameters<typeof cutToGrant>[1]["within"]) =>
      cutToGrant(asked, { within, actions: ["pull"] }).map(({ repository, actions }) => `${repository} ${actions.join()}`);
    expect(names({ org: "acme" })).toEqual(["acme/web pull", "acme/web/sub pull", "acme/webs pull"]);
    expect(names({ org: "acme", app: "web" })).toEqual(["acme/web pull", "acme/web/sub pull"]);
    expect(names("everything")).toHaveLength(5);
    expect(cutToGrant(asked, { within: { org: "acme" }, actions: ["delete"] })).toEqual([]);
  });

  it("allow what they name and nothing else", () => {
    const access = parseScopes(["repository:acme/web:pull"])!;
    expect(allows(access, "acme/web", "pull")).toBe(true);
    expect(allows(access, "acme/web", "push")).toBe(false);
    expect(allows(access, "acme/web/sub", "pull")).toBe(false);
    expect(allows([], "acme/web", "pull")).toBe(false);
  });
});

it("a challenge cannot be left by a quote or a line break", () => {
  const challenge = { realm: 'http://a/"\r\nset-cookie: b', service: "s\\", scopes: ["x", 'y"z'], error: "invalid_token" } as const;
  expect(formatChallenge(challenge)).toBe('Bearer realm="http://a/set-cookie: b",service="s",scope="x yz",error="invalid_token"');
});

describe("failed logins", () => {
  it("make a client wait for the rest of the minute, and others not", () => {
    const failed = createFailedLogins({ most: 2 });
    failed.count("10.0.0.1", 1000);
    expect(failed.waitMs("10.0.0.1", 2000)).toBe(0);
    failed.count("::ffff:10.0.0.1", 2000);
    expect(failed.waitMs("10.0.0.1", 11_000)).toBe(50_000);
    expect(failed.waitMs("10.0.0.2", 11_000)).toBe(0);
    expect(failed.waitMs("10.0.0.1", 61_000)).toBe(0);
  });

  it("count an IPv6 client by its /64", () => {
    const failed = createFailedLogins({ most: 1 });
    failed.count("2001:db8:0:1::5", 0);
    expect(failed.waitMs("2001:db8:0:1:ffff::1", 0)).toBe(60_000);
    expect(failed.waitMs("2001:db8:0:2::5", 0)).toBe(0);
  });

  it("take no more memory than was said, whoever knocks", () => {
    const failed = createFailedLogins({ most: 1, mostClients: 3 });
    for (const last of [1, 2, 3, 4]) failed.count(`10.0.0.${last}`, 0);
    expect([1, 2, 3, 4].map((last) => failed.waitMs(`10.0.0.${last}`, 0))).toEqual([0, 60_000, 60_000, 60_000]);
  });
});
