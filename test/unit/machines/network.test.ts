import { describe, expect, test } from "vitest";
import {
  bridgeMac,
  bridgeName,
  hostPartOf,
  machineAddresses,
  machineMac,
  nextHostPart,
  orgNetwork,
} from "../../../machines/network/address-plan.ts";
import { hostsFile, resolvConf } from "../../../machines/network/name-files.ts";
import { withOrg } from "../../../machines/network/network-registry.ts";
import { ruleset } from "../../../machines/network/ruleset.ts";

const pools = { ipv4Pool: "10.87.0.0/16", ipv6Pool: "fd12:3456:789a::/48" };
const acme = orgNetwork(pools, "0badc0de", "acme", 0);
const rival = orgNetwork(pools, "0badc0de", "rival", 17);

describe("the address plan", () => {
  test("gives each org a /24 of the /16 and a /64 of the /48", () => {
    expect(rival).toEqual({
      org: "rival",
      bridge: bridgeName("0badc0de", "rival"),
      gatewayIpv4: "10.87.17.1",
      gatewayIpv6: "fd12:3456:789a:11::1",
      subnetIpv4: "10.87.17.0/24",
      subnetIpv6: "fd12:3456:789a:11::/64",
    });
  });

  test("names bridges within the kernel's 15 characters, apart by instance and org", () => {
    const names = [acme.bridge, rival.bridge, bridgeName("0badc0df", "acme")];
    for (const name of names) expect(name).toMatch(/^slw[0-9a-f]{8}$/);
    expect(new Set(names).size).toBe(3);
    expect(bridgeMac(acme.bridge)).toMatch(/^02(:[0-9a-f]{2}){5}$/);
  });

  test.each([
    { ipv4Pool: "10.87.0.0/24", ipv6Pool: pools.ipv6Pool },
    { ipv4Pool: "10.300.0.0/16", ipv6Pool: pools.ipv6Pool },
    { ipv4Pool: pools.ipv4Pool, ipv6Pool: "2001:db8:1::/48" },
    { ipv4Pool: pools.ipv4Pool, ipv6Pool: "fd12::/32" },
  ])("refuses pools of another shape: %j", (wrong) => {
    expect(() => orgNetwork(wrong, "0badc0de", "acme", 0)).toThrow(RangeError);
  });

  test("keeps an org's place, gives a new one the first that is free, and ends at 256", () => {
    const registry = { orgs: { acme: 0, rival: 2 } };
    expect(withOrg(registry, "rival")).toBe(registry);
    expect(withOrg(registry, "third").orgs.third).toBe(1);
    const full = { orgs: Object.fromEntries(Array.from({ length: 256 }, (_, index) => [`org-${index}`, index])) };
    expect(() => withOrg(full, "one-more")).toThrow(/full/);
  });
});

describe("a machine's addresses", () => {
  test("end in one host part, from which its link address follows", () => {
    expect(machineAddresses(acme, 2)).toEqual({ ipv4: "10.87.0.2", ipv6: "fd12:3456:789a::2" });
    const addresses = machineAddresses(rival, 254);
    expect(addresses).toEqual({ ipv4: "10.87.17.254", ipv6: "fd12:3456:789a:11::fe" });
    expect(hostPartOf(addresses)).toBe(254);
    expect(machineMac(addresses)).toBe("02:53:0a:57:11:fe");
  });

  test("are given in turn, past those that are taken, from the last one on", () => {
    const free = (...taken: number[]) => {
      const set = new Set(taken);
      return (hostPart: number) => !set.has(hostPart);
    };
    expect(nextHostPart(1, free())).toBe(2);
    expect(nextHostPart(2, free(3, 4))).toBe(5);
    expect(nextHostPart(253, free())).toBe(254);
    expect(nextHostPart(254, free(2))).toBe(3);
    expect(nextHostPart(Number.NaN, free())).toBe(2);
    expect(nextHostPart(9, (hostPart) => hostPart === 9)).toBe(9);
    expect(nextHostPart(9, () => false)).toBeUndefined();
  });
});

describe("the filter rules", () => {
  const text = ruleset("0badc0de", pools, [5000, 443], [acme, rival]);

  test("replace the instance's own table in one transaction and touch no other", () => {
    expect(text).toMatch(/^table inet slipway_0badc0de\ndelete table inet slipway_0badc0de\ntable inet slipway_0badc0de \{/);
    expect(text.match(/table inet \w+/g)).toEqual(Array(3).fill("table inet slipway_0badc0de"));
    expect(text).not.toContain("flush ruleset");
  });

  test("let an org reach the mirror's ports on its own gateway alone", () => {
    expect(text).toContain(`iifname "${acme.bridge}" ip daddr 10.87.0.1 tcp dport { 5000, 443 } accept`);
    expect(text).toContain(`iifname "${acme.bridge}" ip6 daddr fd12:3456:789a:0::1 tcp dport { 5000, 443 } accept`);
    expect(text).not.toContain(`iifname "${acme.bridge}" ip daddr 10.87.17.1`);
  });

  test("let an org ask the resolver on its own gateway alone, and count each datagram", () => {
    const fromMachine = text.slice(text.indexOf("chain from_machine"), text.indexOf("chain output"));
    expect(fromMachine).toContain(`iifname "${rival.bridge}" ip daddr 10.87.17.1 udp dport 53 accept`);
    expect(fromMachine).toContain(`iifname "${rival.bridge}" ip6 daddr fd12:3456:789a:11::1 tcp dport 53 accept`);
    const limit = fromMachine.indexOf(`iifname "${rival.bridge}" udp dport 53 limit rate over`);
    expect(limit).toBeGreaterThan(-1);
    expect(limit).toBeLessThan(fromMachine.indexOf("ct state established"));
  });

  test("drop what goes from one org's bridge to another's before anything is let out", () => {
    const forward = text.slice(text.indexOf("chain forward"), text.indexOf("chain input"));
    expect(forward.indexOf('oifname "slw*" drop')).toBeLessThan(forward.indexOf("iifname @bridges accept"));
    expect(forward.indexOf('oifname "slw*" drop')).toBeGreaterThan(-1);
  });

  test("keep machines from where clouds tell a host its credentials", () => {
    const forward = text.slice(text.indexOf("chain forward"), text.indexOf("chain input"));
    for (const address of ["169.254.0.0/16", "168.63.129.16", "100.100.100.200", "fe80::/10", "fd00:ec2::254", "fd20:ce::254"]) {
      const drops = forward.split("\n").findIndex((line) => line.includes("iifname @bridges ip") && line.includes(address));
      expect(drops, address).toBeGreaterThan(-1);
      expect(drops, address).toBeLessThan(forward.split("\n").findIndex((line) => line.includes("iifname @bridges accept")));
    }
  });

  test("stand for an instance without orgs, too", () => {
    expect(ruleset("0badc0de", pools, [5000], [])).not.toContain("elements");
  });
});

describe("the name files", () => {
  test("lead the mirror's names to the gateway and carry the plan's hosts", () => {
    const text = hostsFile("registry.slipway.internal:5000", acme, { id: "builder", hosts: [{ name: "db", address: "10.87.0.9" }] });
    expect(text).toContain("10.87.0.1 _api.internal registry.slipway.internal\n");
    expect(text).toContain("fd12:3456:789a:0::1 _api.internal registry.slipway.internal\n");
    expect(text).toContain("127.0.1.1 builder\n");
    expect(text).toContain("10.87.0.9 db\n");
  });

  test("name the org's resolver alone", () => {
    expect(resolvConf(rival)).toMatch(/^nameserver 10\.87\.17\.1\noptions [^\n]+\n$/);
  });
});
