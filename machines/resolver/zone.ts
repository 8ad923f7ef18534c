import { isIP } from "node:net";
import { apiHostname } from "../../config/mirror-ports.ts";
import type { MachineAddresses } from "../network/address-plan.ts";

/** What an org's machines find under names of their own. */
export type Zone = {
  /** the host's addresses in the org's network */
  readonly gateway: MachineAddresses;
  /** the host part of image names; there the mirror answers, too */
  readonly imageHostName: string;
  /** of each app that gets requests those of its live machines */
  readonly apps: ReadonlyMap<string, readonly MachineAddresses[]>;
  /** absent: the org has had no builder yet */
  readonly builder?: MachineAddresses;
};

export const zoneName = "internal";
export const builderHostname = `builder.${zoneName}`;

/** Which names are answered here, whatever the org. */
export type OwnNames = { readonly imageHostName: string; readonly reverseZones: readonly string[] };

/**
 * For whom an answer about a name speaks: the org's names, there or not, are answered here and never asked of the host's resolvers.
 * Undefined: the name is none of them.
 * @param name in lower case, without the last dot
 */
export function apexOf(name: string, { imageHostName, reverseZones }: OwnNames): string | undefined {
  const zone = [zoneName, ...reverseZones].find((each) => name === each || name.endsWith(`.${each}`));
  return zone ?? (isIP(imageHostName) === 0 && name === imageHostName.toLowerCase() ? name : undefined);
}

/** `missing`: there is no such name. */
export type Found = "missing" | readonly MachineAddresses[];

/** @param name one of the org's own, in lower case, without the last dot */
export function lookUp(zone: Zone, name: string): Found {
  const names = namesOf(zone);
  // a name that only others end with exists, and has nothing (RFC 8020)
  const isBetween = () => name === zoneName || [...names.keys()].some((known) => known.endsWith(`.${name}`));
  return names.get(name) ?? (isBetween() ? [] : "missing");
}

function namesOf({ gateway, imageHostName, apps, builder }: Zone): ReadonlyMap<string, readonly MachineAddresses[]> {
  return new Map([
    ...[...apps].map(([app, addresses]) => [`${app}.${zoneName}`, addresses] as const),
    // an app cannot take these names
    [builderHostname, builder === undefined ? [] : [builder]],
    [apiHostname, [gateway]],
    ...(isIP(imageHostName) === 0 ? [[imageHostName.toLowerCase(), [gateway]] as const] : []),
  ]);
}
