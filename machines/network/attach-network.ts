import path from "node:path";
import type { Settings } from "../../config/settings.ts";
import { runProgram } from "../run-program.ts";
import type { OrgNetwork } from "../types.ts";
import type { MachineAddresses } from "./address-plan.ts";
import { cniConfig } from "./cni-config.ts";

/** CNI ADD into the network namespace of `pid`, with exactly these addresses. @throws ProgramError when somebody else holds them */
export async function attachNetwork(
  settings: Settings,
  network: OrgNetwork,
  machine: { readonly id: string; readonly pid: number; readonly addresses: MachineAddresses },
  signal: AbortSignal,
): Promise<void> {
  const { id, pid, addresses } = machine;
  await cni(settings, network, { command: "ADD", id, netns: `/proc/${pid}/ns/net`, addresses }, signal);
}

/** Gives the addresses back. The link itself went with the network namespace, when the last process of the machine ended. */
export async function detachNetwork(settings: Settings, network: OrgNetwork, id: string, signal: AbortSignal): Promise<void> {
  await cni(settings, network, { command: "DEL", id, netns: "" }, signal);
}

async function cni(
  settings: Settings,
  network: OrgNetwork,
  call: { readonly command: "ADD" | "DEL"; readonly id: string; readonly netns: string; readonly addresses?: MachineAddresses },
  signal: AbortSignal,
): Promise<void> {
  const { binDir } = settings.tools;
  const { command, id, netns, addresses } = call;
  await runProgram(path.join(binDir, "bridge"), [], {
    input: JSON.stringify(cniConfig(settings, network, addresses)),
    env: { CNI_COMMAND: command, CNI_CONTAINERID: id, CNI_NETNS: netns, CNI_IFNAME: "eth0", CNI_PATH: binDir },
    signal,
  });
}
