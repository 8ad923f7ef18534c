/** Deterministic, so that a second attempt finds what the first one made (design, "Names"). */
export function machineId(app: string, group: string, ordinal: number, version: number): string {
  return `${app}-${group}-${ordinal}-v${version}`;
}

/** Whether a machine belongs to a release, by its id. */
export function isOfVersion(id: string, version: number): boolean {
  return id.endsWith(`-v${version}`);
}
