import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { ProgramError, runProgram } from "../run-program.ts";
import type { OrgNetwork } from "../types.ts";
import { bridgeMac } from "./address-plan.ts";

/**
 * Made by us and not by the CNI plugin, so that the gateway's addresses are there before the first machine: the mirror listens on
 * them. Repeatable.
 */
export async function ensureBridge(network: OrgNetwork, signal: AbortSignal): Promise<void> {
  const { bridge } = network;
  if (!existsSync(`/sys/class/net/${bridge}`)) await createBridge(bridge, signal);
  // no duplicate address detection: an address that is still tentative cannot be bound to
  await writeFile(`/proc/sys/net/ipv6/conf/${bridge}/accept_dad`, "0");
  await writeFile(`/proc/sys/net/ipv6/conf/${bridge}/accept_ra`, "0");
  const commands = [
    `address replace ${network.gatewayIpv4}/24 dev ${bridge}`,
    `address replace ${network.gatewayIpv6}/64 dev ${bridge} nodad`,
    `link set dev ${bridge} up`,
  ];
  await runProgram("ip", ["-batch", "-"], { input: `${commands.join("\n")}\n`, signal });
}

async function createBridge(bridge: string, signal: AbortSignal): Promise<void> {
  try {
    await runProgram("ip", ["link", "add", "name", bridge, "address", bridgeMac(bridge), "type", "bridge"], { signal });
  } catch (error) {
    if (!(error instanceof ProgramError && error.stderr.includes("File exists"))) throw error;
  }
}
