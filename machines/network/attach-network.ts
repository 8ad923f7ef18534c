import path from "node:path";
import { z } from "zod";
import type { Settings } from "../../config/settings.ts";
import { runProgram } from "../run-program.ts";
import type { OrgNetwork } from "../types.ts";
import type { MachineAddresses } from "./address-plan.ts";
import { cniConfig } from "./cni-config.ts";
import { guardPort, releasePorts } from "./port-guard.ts";
import { readReservations } from "./reservations.ts";
import { beginRest } from "./resting.ts";

const cniResult = z.object({ interfaces: z.array(z.object({ name: z.string(), sandbox: z.string().optional() })) });

/**
 * CNI ADD into the network namespace at the path `netns`, with exactly these addresses, and nothing leaves it as anybody else. To be called
 * before the machine's first process starts. Answers the name of its port of the bridge. @throws ProgramError when somebody else holds them, or the port cannot be guarded
 */
export async function attachNetwork(
  settings: Settings,
  network: OrgNetwork,
  machine: { readonly id: string; readonly netns: string; readonly addresses: MachineAddresses },
  signal: AbortSignal,
): Promise<string> {
  const { id, netns, addresses } = machine;
  const result = await cni(settings, network, { command: "ADD", id, netns, addresses }, signal);
  const { interfaces } = cniResult.parse(JSON.parse(result));
  const port = interfaces.find(({ name, sandbox }) => !sandbox && name !== network.bridge);
  if (port === undefined) throw new Error(`Cannot guard the port of machine "${id}": the CNI plugin named none in ${result.slice(0, 500)}`);
  await guardPort(settings, port.name, addresses, signal);
  return port.name;
}

/** Gives the addresses back. The link itself went with the network namespace, when the last process of the machine ended. */
export async function detachNetwork(settings: Settings, network: OrgNetwork, id: string, signal: AbortSignal): Promise<void> {
  await releasePorts(settings, signal);
  const reservations = await readReservations(settings, network);
  const given = [...reservations].filter(([, ids]) => ids.has(id)).map(([hostPart]) => hostPart);
  if (given.length > 0) await beginRest(settings, network, given);
  await cni(settings, network, { command: "DEL", id, netns: "" }, signal);
}

async function cni(
  settings: Settings,
  network: OrgNetwork,
  call: { readonly command: "ADD" | "DEL"; readonly id: string; readonly netns: string; readonly addresses?: MachineAddresses },
  signal: AbortSignal,
): Promise<string> {
  const { binDir } = settings.tools;
  const { command, id, netns, addresses } = call;
  return await runProgram(path.join(binDir, "bridge"), [], {
    input: JSON.stringify(cniConfig(settings, network, addresses)),
    env: { CNI_COMMAND: command, CNI_CONTAINERID: id, CNI_NETNS: netns, CNI_IFNAME: "eth0", CNI_PATH: binDir },
    signal,
  });
}
