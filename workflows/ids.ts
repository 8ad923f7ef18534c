import type { Digest } from "../oci/digest.ts";

/** Workflow ids: what a thing is called decides that it exists once (design, "Names"). */
export const workflowIds = {
  deploy: (org: string, app: string, key: string) => `deploy/${org}/${app}/${key}`,
  app: (org: string, app: string) => `app/${org}/${app}`,
  collectGarbage: (dryRun: boolean) => (dryRun ? "registry/collect-garbage/dry-run" : "registry/collect-garbage"),
  scrubRegistry: (repository: string | undefined, quarantine: boolean) =>
    ["registry", quarantine ? "quarantine" : "scrub", ...(repository === undefined ? [] : [repository])].join("/"),
  pruneHost: (host: string, dryRun: boolean) => `host/${host}/prune${dryRun ? "/dry-run" : ""}`,
  replicateImage: (repository: string, digest: Digest) => `replicate/${repository}/${digest}`,
  deployToken: (id: string, change: "create" | "revoke") => `token/${id}/${change}`,
  deployTokenList: (unique: string) => `tokens/list/${unique}`,
} as const;

/** Search attributes registered at set-up, all of type Keyword; never secret, never encrypted. */
export const searchAttributeNames = { org: "SlipwayOrg", app: "SlipwayApp", stage: "SlipwayStage", digest: "SlipwayDigest" } as const;
