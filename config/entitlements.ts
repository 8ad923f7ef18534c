/** What steps of a build may be given beyond their sandbox, by BuildKit's names (docs/reference/buildctl.md, `--allow`). */
export const entitlements = ["network.host", "security.insecure"] as const;
export type Entitlement = (typeof entitlements)[number];

export const isEntitlement = (text: string): text is Entitlement => (entitlements as readonly string[]).includes(text);
