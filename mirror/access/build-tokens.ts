import { z } from "zod";
import { isOrgName } from "../../config/org-name.ts";
import { type Digest, isDigest } from "../../oci/digest.ts";
import { type Repository, isRepository } from "../../oci/repository.ts";
import { createSignedTokens } from "./signed-tokens.ts";

/** as long as a build may take (`startToCloseTimeout` of the activity), and a quarter of an hour */
export const longestLifetimeMs = 135 * 60_000;

/** What a build's token is good for: pull and push in the one repository of its app; with `blob`, reading that blob of it, or those, and no more. */
export type BuildScope = { readonly org: string; readonly app: string; readonly blob?: Digest | readonly Digest[] };

export type BuildTokens = {
  /** `lifetimeMs` is cut to {@link longestLifetimeMs}. */
  mint(scope: BuildScope, lifetimeMs: number, nowMs: number): Promise<{ readonly token: string; readonly expiresAtMs: number }>;
  /** Undefined for whatever this mirror did not make, or that is over. */
  verify(token: string, nowMs: number): Promise<BuildScope | undefined>;
};

const digest = z.string().refine(isDigest);
const claims = z.object({
  org: z.string().refine(isOrgName),
  app: z.string(),
  blob: z.union([digest, z.array(digest)]).optional(),
});

export function repositoryOf({ org, app }: Pick<BuildScope, "org" | "app">): Repository | undefined {
  const name = `${org}/${app}`;
  return isRepository(name) ? name : undefined;
}

export function createBuildTokens(key: Uint8Array): BuildTokens {
  const signed = createSignedTokens(key, { audience: "slipway-mirror" });
  return {
    mint({ org, app, blob }, lifetimeMs, nowMs) {
      const lifetimeS = Math.ceil(Math.min(lifetimeMs, longestLifetimeMs) / 1000);
      return signed.mint({ org, app, ...(blob === undefined ? {} : { blob }) }, lifetimeS, nowMs);
    },
    async verify(token, nowMs) {
      const { data } = claims.safeParse(await signed.verify(token, nowMs));
      if (data === undefined || repositoryOf(data) === undefined) return undefined;
      const { org, app, blob } = data;
      return { org, app, ...(blob === undefined ? {} : { blob: blob as Digest | readonly Digest[] }) };
    },
  };
}
