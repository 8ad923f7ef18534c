/** One line of /proc/<pid>/uid_map as the runtime spec writes it; gids are mapped the same way. */
export type IdMapping = { readonly containerID: number; readonly hostID: number; readonly size: number };

const idsPerOrg = 65_536;
/** Room for 256 orgs of 65,536 ids each. */
const idsPerInstance = 256 * idsPerOrg;
const instanceSlots = 120;

/**
 * The host ids that root and everybody else of an org's machines really are. Ids of distros' own users and of usual subuid ranges
 * lie below 2^24 and are left alone; nothing reaches 2^31.
 */
export function idMappingOf(instance: string, orgIndex: number): IdMapping {
  const slot = Number.parseInt(instance, 16) % instanceSlots;
  return { containerID: 0, hostID: (slot + 1) * idsPerInstance + orgIndex * idsPerOrg, size: idsPerOrg };
}
