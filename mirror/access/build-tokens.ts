import { randomUUID } from "node:crypto";
import { SignJWT, errors, jwtVerify } from "jose";
import { z } from "zod";
import { isOrgName } from "../../config/org-name.ts";
import { type Digest, isDigest } from "../../oci/digest.ts";
import { type Repository, isRepository } from "../../oci/repository.ts";

const algorithm = "HS256";
const issuer = "slipway-mirror";
const audience = "slipway-mirror";
/** as long as a build may take (`startToCloseTimeout` of the activity), and a quarter of an hour */
export const longestLifetimeMs = 135 * 60_000;

/** What a build's token is good for: pull and push in the one repository of its app; with `blob`, reading that blob of it and no more. */
export type BuildScope = { readonly org: string; readonly app: string; readonly blob?: Digest };

export type BuildTokens = {
  /** `lifetimeMs` is cut to {@link longestLifetimeMs}. */
  mint(scope: BuildScope, lifetimeMs: number, nowMs: number): Promise<{ readonly token: string; readonly expiresAtMs: number }>;
  /** Undefined for whatever this mirror did not make, or that is over. */
  verify(token: string, nowMs: number): Promise<BuildScope | undefined>;
};

const claims = z.object({
  org: z.string().refine(isOrgName),
  app: z.string(),
  blob: z.string().refine(isDigest).optional(),
});

export function repositoryOf({ org, app }: Pick<BuildScope, "org" | "app">): Repository | undefined {
  const name = `${org}/${app}`;
  return isRepository(name) ? name : undefined;
}

/** Tokens that need no record of them: what they are good for stands in them, signed. */
export function createBuildTokens(key: Uint8Array): BuildTokens {
  return {
    async mint({ org, app, blob }, lifetimeMs, nowMs) {
      const nowS = Math.floor(nowMs / 1000);
      const endS = nowS + Math.ceil(Math.min(lifetimeMs, longestLifetimeMs) / 1000);
      const token = await new SignJWT({ org, app, ...(blob === undefined ? {} : { blob }) })
        .setProtectedHeader({ alg: algorithm, typ: "JWT" })
        .setIssuer(issuer)
        .setAudience(audience)
        .setIssuedAt(nowS)
        .setExpirationTime(endS)
        .setJti(randomUUID())
        .sign(key);
      return { token, expiresAtMs: endS * 1000 };
    },
    async verify(token, nowMs) {
      try {
        const { payload } = await jwtVerify(token, key, {
          algorithms: [algorithm],
          issuer,
          audience,
          typ: "JWT",
          requiredClaims: ["exp", "iat", "jti"],
          currentDate: new Date(nowMs),
        });
        const { org, app, blob } = claims.parse(payload);
        return repositoryOf({ org, app }) === undefined ? undefined : { org, app, ...(blob === undefined ? {} : { blob: blob as Digest }) };
      } catch (error) {
        if (error instanceof errors.JOSEError || error instanceof z.ZodError) return undefined;
        throw error;
      }
    },
  };
}
