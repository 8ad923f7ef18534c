import { describe, expect, it } from "vitest";
import { caProfile } from "../../../mirror/tls/local-ca.ts";
import { opensslConfig } from "../../../mirror/tls/openssl.ts";

describe("what the mirror's CA may sign for", () => {
  const scope = {
    instance: "0badc0de",
    names: ["registry.slipway.internal", "_api.internal"],
    networks: ["10.87.0.0/16", "fd12:3456:789a::/48"],
  };

  it("is the names and networks of its scope, with masks as openssl wants them", () => {
    expect(caProfile(scope).sections.permitted).toEqual([
      ["permitted;DNS.0", "registry.slipway.internal"],
      ["permitted;DNS.1", "_api.internal"],
      ["permitted;IP.2", "10.87.0.0/255.255.0.0"],
      ["permitted;IP.3", "fd12:3456:789a::/ffff:ffff:ffff:0:0:0:0:0"],
    ]);
  });

  it("may be an address, where the image host is one", () => {
    const { permitted } = caProfile({ ...scope, names: ["192.0.2.7", "2001:db8::7"], networks: ["10.64.0.0/10"] }).sections;
    expect(permitted.map(([, value]) => value)).toEqual([
      "192.0.2.7/255.255.255.255",
      `2001:db8::7/${Array(8).fill("ffff").join(":")}`,
      "10.64.0.0/255.192.0.0",
    ]);
  });

  it("is told from another scope by the subject alone", () => {
    const other = caProfile({ ...scope, names: ["registry.acme.example"] });
    expect(caProfile(scope).subject).toEqual(caProfile({ ...scope }).subject);
    expect(other.subject.OU).not.toBe(caProfile(scope).subject.OU);
  });

  it("stands in the configuration that openssl is given, section by section", () => {
    const text = opensslConfig(caProfile(scope));
    expect(text).toContain("[extensions]\nbasicConstraints = critical,CA:TRUE,pathlen:0\n");
    expect(text).toContain("nameConstraints = critical,@permitted\n");
    expect(text).toContain("[permitted]\npermitted;DNS.0 = registry.slipway.internal\n");
  });
});
