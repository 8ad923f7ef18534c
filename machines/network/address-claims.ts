import { readFile } from "node:fs/promises";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import { MachineError } from "../errors.ts";
import { createKeyedQueue } from "../../config/keyed-queue.ts";
import type { OrgNetwork } from "../types.ts";
import { writeFileAtomic } from "../../config/write-file-atomic.ts";
import { firstHostPart, hostPartOf, machineAddresses, type MachineAddresses, nextHostPart } from "./address-plan.ts";
import { readReservations } from "./reservations.ts";
import { restingHostParts, restMs } from "./resting.ts";

/** Addresses that nobody else is given until the claim ends; by then they are reserved. */
export type AddressClaim = Disposable & {
  readonly addresses: MachineAddresses;
  /** this machine has reservations from before, which are to be given back first */
  readonly reservedBefore: boolean;
};

export type AddressClaims = {
  /** Those the machine had, when no other has them; else those that were given out the longest ago, and have rested since they came back. */
  claim(network: OrgNetwork, machineId: string, earlier: MachineAddresses | undefined): Promise<AddressClaim>;
};

/**
 * Which addresses a machine gets, in turn through the org's subnet: an address that was given back rests for as long as can be.
 * host-local's own turn begins anew after whichever address was asked for last.
 */
export function createAddressClaims(settings: Settings): AddressClaims {
  const queue = createKeyedQueue();
  const claimed = new Set<string>();

  async function claim(network: OrgNetwork, machineId: string, earlier: MachineAddresses | undefined): Promise<AddressClaim> {
    const reservations = await readReservations(settings, network);
    const isClaimed = (hostPart: number) => claimed.has(machineAddresses(network, hostPart).ipv4);
    const kept = earlier === undefined ? undefined : hostPartOf(earlier);
    const keeps =
      kept !== undefined &&
      isDeepStrictEqual(machineAddresses(network, kept), earlier) &&
      !isClaimed(kept) &&
      [...(reservations.get(kept) ?? [])].every((id) => id === machineId);
    const hostPart = keeps ? kept : await unused(network, (candidate) => !isClaimed(candidate) && !reservations.has(candidate));
    const addresses = machineAddresses(network, hostPart);
    claimed.add(addresses.ipv4);
    return {
      addresses,
      reservedBefore: [...reservations.values()].some((ids) => ids.has(machineId)),
      [Symbol.dispose]: () => void claimed.delete(addresses.ipv4),
    };
  }

  async function unused(network: OrgNetwork, isFree: (hostPart: number) => boolean): Promise<number> {
    const resting = await restingHostParts(settings, network);
    return await next(network, (candidate) => isFree(candidate) && !resting.has(candidate));
  }

  async function next(network: OrgNetwork, isFree: (hostPart: number) => boolean): Promise<number> {
    const file = path.join(instancePaths.cniState(settings), `${network.bridge}.last`);
    const last = Number(await readFile(file, "utf8").catch(() => firstHostPart - 1));
    const hostPart = nextHostPart(last, isFree);
    if (hostPart === undefined) {
      throw new MachineError(
        "NETWORK_FAILED",
        `Cannot find a free address in ${network.subnetIpv4} of org "${network.org}": all are taken, or were until less than ${restMs / 60_000} minutes ago`,
      );
    }
    await writeFileAtomic(file, `${hostPart}\n`);
    return hostPart;
  }

  return { claim: (network, machineId, earlier) => queue(network.bridge, () => claim(network, machineId, earlier)) };
}
