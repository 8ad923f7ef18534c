import { rm } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import { runProgram } from "../run-program.ts";
import type { OrgNetwork } from "../types.ts";
import { cniConfig } from "./cni-config.ts";

const resultSchema = z.object({ ips: z.array(z.object({ address: z.string() })) });

export type MachineAddresses = { readonly ipv4: string; readonly ipv6: string };

/** CNI ADD into the network namespace of `pid`. Whatever the machine of that id held before is given back first. */
export async function attachNetwork(
  settings: Settings,
  network: OrgNetwork,
  machine: { readonly id: string; readonly pid: number },
  signal: AbortSignal,
): Promise<MachineAddresses> {
  await detachNetwork(settings, network, machine.id, signal);
  const output = await cni(settings, network, "ADD", machine.id, `/proc/${machine.pid}/ns/net`, signal);
  const addresses = resultSchema.parse(JSON.parse(output)).ips.map(({ address }) => address.split("/")[0]!);
  const ipv4 = addresses.find((address) => !address.includes(":"));
  const ipv6 = addresses.find((address) => address.includes(":"));
  if (ipv4 === undefined || ipv6 === undefined) throw new Error(`CNI gave no IPv4 and IPv6 address: ${output.slice(0, 500)}`);
  return { ipv4, ipv6 };
}

/** Gives the addresses back. The link itself went with the network namespace, when the last process of the machine ended. */
export async function detachNetwork(settings: Settings, network: OrgNetwork, id: string, signal: AbortSignal): Promise<void> {
  await cni(settings, network, "DEL", id, "", signal);
}

/** Forgets every address of an org's network; only when none of its machines runs. */
export async function forgetAddresses(settings: Settings, network: OrgNetwork): Promise<void> {
  await rm(path.join(instancePaths.cniState(settings), network.bridge), { recursive: true, force: true });
}

async function cni(
  settings: Settings,
  network: OrgNetwork,
  command: "ADD" | "DEL",
  id: string,
  netns: string,
  signal: AbortSignal,
): Promise<string> {
  const { binDir } = settings.tools;
  return await runProgram(path.join(binDir, "bridge"), [], {
    input: JSON.stringify(cniConfig(settings, network)),
    env: { CNI_COMMAND: command, CNI_CONTAINERID: id, CNI_NETNS: netns, CNI_IFNAME: "eth0", CNI_PATH: binDir },
    signal,
  });
}
