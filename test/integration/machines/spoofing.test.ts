import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { instancePaths } from "../../../config/paths.ts";
import { bridgeMac, machineMac } from "../../../machines/network/address-plan.ts";
import { linkLocalOf } from "../../../machines/network/port-guard.ts";
import { runProgram } from "../../../machines/run-program.ts";
import type { MachineState } from "../../../machines/types.ts";
import { page } from "./support/observe.ts";
import { openWebLab, type WebLab } from "./support/web-lab.ts";

const signal = AbortSignal.timeout(240_000);
let lab: WebLab;

beforeAll(async () => {
  lab = await openWebLab(signal);
});
afterAll(async () => await lab?.[Symbol.asyncDispose]());

type Who = { readonly pid: number; readonly mac: string; readonly ipv4: string; readonly ipv6: string };

async function whoIs({ id, pid }: MachineState): Promise<Who> {
  const file = `${instancePaths.machineDir(lab.settings, lab.org, id)}/addresses.json`;
  const addresses = JSON.parse(await readFile(file, "utf8")) as { ipv4: string; ipv6: string };
  return { ...addresses, pid: pid!, mac: machineMac(addresses) };
}

/** Frames as root of a builder could make them: `number` is found again in what arrives. */
const frames = `
import socket, struct, sys, json
me, victim, gateway = json.loads(sys.argv[1])
mac = lambda text: bytes.fromhex(text.replace(":", ""))
v4, v6 = socket.inet_aton, lambda text: socket.inet_pton(socket.AF_INET6, text)
mark = lambda number: b"FRAME%03d" % number
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def eth(number, src, kind, body): return mac(victim["mac"]) + mac(src) + struct.pack("!H", kind) + body + mark(number)
def ip(number, src, source, tag=b""):
    payload = struct.pack("!HHHH", 9, 9, 16, 0) + mark(number)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, 17, 0) + v4(source) + v4(victim["ipv4"])
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return mac(victim["mac"]) + mac(src) + tag + struct.pack("!H", 0x0800) + head + payload
def arp(number, src, sender_mac, sender):
    return eth(number, src, 0x0806, struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + mac(sender_mac) + v4(sender) + mac(victim["mac"]) + v4(victim["ipv4"]))
def ip6(number, source, kind, body):
    payload = body + mark(number)
    return eth(number, me["mac"], 0x86dd, struct.pack("!IHBB", 0x60000000, len(payload), kind, 255) + v6(source) + v6(victim["ipv6"]) + payload)
def advert(target): return struct.pack("!BBHI", 136, 0, 0, 0x20000000) + v6(target) + b"\\x02\\x01" + mac(me["mac"])
udp = struct.pack("!HHHH", 9, 9, 16, 0)
cases = {
    1: ip(1, me["mac"], me["ipv4"]),
    2: arp(2, me["mac"], me["mac"], me["ipv4"]),
    3: ip6(3, me["ipv6"], 17, udp),
    4: ip6(4, me["ipv6"], 58, advert(me["ipv6"])),
    10: ip(10, "02:53:00:00:00:99", me["ipv4"]),
    11: ip(11, victim["mac"], victim["ipv4"]),
    12: ip(12, me["mac"], victim["ipv4"]),
    13: ip(13, me["mac"], gateway["ipv4"]),
    14: ip(14, gateway["mac"], gateway["ipv4"]),
    15: ip(15, me["mac"], "203.0.113.9"),
    16: arp(16, me["mac"], me["mac"], gateway["ipv4"]),
    17: arp(17, me["mac"], gateway["mac"], gateway["ipv4"]),
    18: arp(18, me["mac"], gateway["mac"], me["ipv4"]),
    19: ip6(19, gateway["ipv6"], 17, udp),
    20: ip6(20, "fe80::1", 17, udp),
    21: ip6(21, me["ipv6"], 58, struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)),
    22: ip6(22, me["ipv6"], 58, advert(gateway["ipv6"])),
    23: ip6(23, me["ipv6"], 58, struct.pack("!BBHI", 137, 0, 0, 0) + v6(gateway["ipv6"]) * 2),
    24: eth(24, me["mac"], 0x88b5, b""),
    25: ip(25, me["mac"], gateway["ipv4"], struct.pack("!HH", 0x8100, 7)),
    99: ip(99, me["mac"], me["ipv4"]),
}
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.bind(("eth0", 0))
for frame in cases.values(): link.send(frame)
`;

const listen = `
import re, socket
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.bind(("eth0", 0))
print("listening", flush=True)
seen = []
while 99 not in seen:
    seen += [int(number) for number in re.findall(rb"FRAME(\\d{3})", link.recv(65535))]
print(",".join(str(number) for number in sorted(set(seen))), flush=True)
`;

const within = (pid: number, script: string, ...args: string[]): ChildProcess =>
  spawn("nsenter", ["-t", `${pid}`, "-n", "python3", "-c", script, ...args], { stdio: ["ignore", "pipe", "inherit"], signal });

async function whatArrives(from: Who, at: Who): Promise<string> {
  const { gatewayIpv4, gatewayIpv6, bridge } = await lab.machines.ensureNetwork(lab.org, signal);
  const gateway = { mac: bridgeMac(bridge), ipv4: gatewayIpv4, ipv6: gatewayIpv6 };
  const listener = within(at.pid, listen);
  const lines: string[] = [];
  listener.stdout!.setEncoding("utf8").on("data", (text: string) => lines.push(text));
  await expect.poll(() => lines.join(""), { timeout: 20_000 }).toContain("listening");
  const sender = within(from.pid, frames, JSON.stringify([{ ...from, linkLocal: linkLocalOf(from.mac) }, at, gateway]));
  const ended = once(listener, "close");
  expect((await once(sender, "close"))[0]).toBe(0);
  await ended;
  return lines.join("").trim().split("\n").at(-1)!;
}

const chains = async () => await runProgram("nft", ["list", "table", "bridge", `slipway_${lab.settings.instance}`]);
const portOf = ({ pid }: { pid: number }) => {
  const index = readFileSync(`/proc/${pid}/root/sys/class/net/eth0/iflink`, "utf8").trim();
  return runProgram("sh", ["-c", `grep -lx ${index} /sys/class/net/*/ifindex`]).then((file) => file.split("/")[4]!);
};

test("a machine sends as itself and as nobody else of its org, whatever frames it makes", async () => {
  const [attacker, victim] = [await whoIs(await lab.start("attacker")), await whoIs(await lab.start("victim"))];
  // 1 to 4 are its own, and 99 ends them
  expect(await whatArrives(attacker, victim)).toBe("1,2,3,4,99");
  await page(`http://${attacker.ipv4}/hosts`);
  await page(`http://[${attacker.ipv6}]/hosts`);

  const port = await portOf(attacker);
  expect(await chains()).toContain(`from_${port}`);
  // networks of further orgs leave the rules of ports alone
  await lab.machines.ensureNetwork(lab.rival, signal);
  expect(await chains()).toContain(`from_${port}`);
  await lab.remove("attacker");
  await lab.start("attacker");
  const again = await whoIs((await lab.machines.inspect(lab.org, "attacker", signal))!);
  expect(await whatArrives(again, victim)).toBe("1,2,3,4,99");
  await lab.remove("attacker");
  await lab.remove("victim");
  expect(await chains()).not.toContain(port);
});
