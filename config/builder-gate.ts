import { isOrgName } from "./org-name.ts";

/** What the gate and its clients agree on. */
export const tunnelProtocol = {
  /** of `Upgrade` (RFC 9110, 7.8): after it, the bytes are those of buildkitd's socket */
  name: "slipway-buildkit",
  path: (org: string) => `${gatePath(org)}/tunnel`,
  /** Undefined for any other path. */
  orgOf: (path: string): string | undefined => {
    const org = /^\/v1\/orgs\/([^/?]+)\/builder\/tunnel$/.exec(path)?.[1];
    return org !== undefined && isOrgName(org) ? org : undefined;
  },
} as const;

export const gatePath = (org: string): string => `/v1/orgs/${org}/builder`;

/** Whether a token may travel there without TLS. */
export const isLoopback = (host: string): boolean => /^(localhost|\[?::1\]?|127\.\d+\.\d+\.\d+)$/.test(host);
