import path from "node:path";
import { z } from "zod";
import type { Settings } from "../../config/settings.ts";
import { ProgramError, runProgram } from "../run-program.ts";
import type { OrgNetwork } from "../types.ts";
import { machineMac } from "./address-plan.ts";
import { cniConfig } from "./cni-config.ts";

const resultSchema = z.object({ ips: z.array(z.object({ address: z.string() })) });

export type MachineAddresses = { readonly ipv4: string; readonly ipv6: string };

/**
 * CNI ADD into the network namespace of `pid`. A machine that had addresses before gets them again where it can: routes and their
 * readers keep what they know.
 */
export async function attachNetwork(
  settings: Settings,
  network: OrgNetwork,
  machine: { readonly id: string; readonly pid: number; readonly earlier: MachineAddresses | undefined },
  signal: AbortSignal,
): Promise<MachineAddresses> {
  const { id, earlier } = machine;
  const netns = `/proc/${machine.pid}/ns/net`;
  try {
    if (earlier === undefined) return await addNetwork(settings, network, id, netns, [], signal);
    await detachNetwork(settings, network, id, signal);
    return await addNetwork(settings, network, id, netns, [earlier.ipv4, earlier.ipv6], signal);
  } catch (error) {
    // somebody else has these addresses, or an attachment of this id is left of which there is no record
    if (!(error instanceof ProgramError)) throw error;
    await detachNetwork(settings, network, id, signal);
    return await addNetwork(settings, network, id, netns, [], signal);
  }
}

async function addNetwork(
  settings: Settings,
  network: OrgNetwork,
  id: string,
  netns: string,
  wanted: readonly string[],
  signal: AbortSignal,
): Promise<MachineAddresses> {
  const output = await cni(settings, network, { command: "ADD", id, netns, ips: wanted }, signal);
  const addresses = resultSchema.parse(JSON.parse(output)).ips.map(({ address }) => address.split("/")[0]!);
  const ipv4 = addresses.find((address) => !address.includes(":"));
  const ipv6 = addresses.find((address) => address.includes(":"));
  if (ipv4 === undefined || ipv6 === undefined) throw new Error(`CNI gave no IPv4 and IPv6 address: ${output.slice(0, 500)}`);
  return { ipv4, ipv6 };
}

/** Gives the addresses back. The link itself went with the network namespace, when the last process of the machine ended. */
export async function detachNetwork(settings: Settings, network: OrgNetwork, id: string, signal: AbortSignal): Promise<void> {
  await cni(settings, network, { command: "DEL", id, netns: "", ips: [] }, signal);
}

async function cni(
  settings: Settings,
  network: OrgNetwork,
  call: { readonly command: "ADD" | "DEL"; readonly id: string; readonly netns: string; readonly ips: readonly string[] },
  signal: AbortSignal,
): Promise<string> {
  const { binDir } = settings.tools;
  const { command, id, netns, ips } = call;
  return await runProgram(path.join(binDir, "bridge"), [], {
    input: JSON.stringify(cniConfig(settings, network, { mac: machineMac(network.bridge, id), ips })),
    env: { CNI_COMMAND: command, CNI_CONTAINERID: id, CNI_NETNS: netns, CNI_IFNAME: "eth0", CNI_PATH: binDir },
    signal,
  });
}
