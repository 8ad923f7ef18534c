import { describe, expect, it } from "vitest";
import { ipv6Hex, linkLocalOf, portRules } from "../../../machines/network/port-guard.ts";

const addresses = { ipv4: "10.87.3.2", ipv6: "fd12:3456:789a:3::2" };

describe("the rules of a machine's port", () => {
  const text = portRules("0badc0de", "veth1", addresses);

  it("are in the instance's own table and take no other port's away", () => {
    expect(text).toContain("table bridge slipway_0badc0de {");
    expect(text).not.toContain("delete table");
    expect(text).not.toContain("flush table");
    expect(text).toContain('add element bridge slipway_0badc0de ports { "veth1" : goto from_veth1 }');
  });

  it("know the machine's addresses alone, and drop the rest", () => {
    expect(text).toContain("ether saddr != 02:53:0a:57:03:02 drop");
    expect(text).toContain("arp saddr ip 10.87.3.2 accept");
    expect(text).toContain("ip6 saddr { fd12:3456:789a:3::2, fe80::53:aff:fe57:302 } accept");
    expect(text).toContain("@th,64,128 != 0xfd123456789a00030000000000000002 @th,64,128 != 0xfe8000000000000000530afffe570302 drop");
    expect(text).toMatch(/ {4}drop\n {2}\}\n\}\nadd element/);
  });
});

it.each([
  ["02:53:0a:57:03:02", "fe80::53:aff:fe57:302"],
  ["00:00:00:00:00:01", "fe80::200:ff:fe00:1"],
])("the link-local address of %s is %s", (mac, address) => {
  expect(linkLocalOf(mac)).toBe(address);
});

it.each([
  ["::", "0".repeat(32)],
  ["fe80::1", `fe80${"0".repeat(27)}1`],
  ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
])("%s in hexadecimal is %s", (address, hex) => {
  expect(ipv6Hex(address)).toBe(hex);
});
