import { randomUUID } from "node:crypto";
import { SignJWT, errors, jwtVerify } from "jose";
import { z } from "zod";
import { type Repository, isRepository } from "../../oci/repository.ts";
import { type Access, registryActions } from "../../oci/access.ts";
import type { Identity } from "./credentials.ts";
import { type SigningKeys, signingAlgorithm } from "./signing-keys.ts";

/** With the leeway no token is taken for longer than 300 s after it was made. */
export const accessTokenLifetimeS = 240;
const leewayS = 30;
const issuer = "slipway";

const claims = z.object({
  sub: z.string(),
  exp: z.number(),
  access: z.array(
    z.object({
      type: z.literal("repository"),
      name: z.string().transform((name, context) => (isRepository(name) ? name : reject(context))),
      actions: z.array(z.enum(registryActions)),
    }),
  ),
});

export type AccessToken = { readonly token: string; readonly issuedAtMs: number; readonly lifetimeS: number };
export type VerifiedAccess = { readonly subject: string; readonly access: readonly Access[]; readonly untilMs: number };

export type AccessTokens = {
  issue(identity: Identity, access: readonly Access[], nowMs: number, signal: AbortSignal): Promise<AccessToken>;
  /** Undefined for whatever we did not make, or made for another service, or that is over. @throws DistributionError UNAVAILABLE */
  verify(token: string, nowMs: number, signal: AbortSignal): Promise<VerifiedAccess | undefined>;
};

/** The short-lived JWTs of the token flow (distribution's "Token Authentication Implementation"), for one service. */
export function createAccessTokens(keys: SigningKeys, service: string): AccessTokens {
  return {
    issue: async ({ subject, expiresAtMs }, access, nowMs, signal) => {
      const { id, privateKey } = await keys.signer(nowMs, signal);
      const nowS = Math.floor(nowMs / 1000);
      const endS = Math.min(nowS + accessTokenLifetimeS, Math.floor((expiresAtMs ?? Number.POSITIVE_INFINITY) / 1000));
      const token = await new SignJWT({ access: access.map(({ repository: name, actions }) => ({ type: "repository", name, actions })) })
        .setProtectedHeader({ alg: signingAlgorithm, kid: id, typ: "JWT" })
        .setIssuer(issuer)
        .setSubject(subject)
        .setAudience(service)
        .setIssuedAt(nowS)
        .setNotBefore(nowS)
        .setExpirationTime(endS)
        .setJti(randomUUID())
        .sign(privateKey);
      return { token, issuedAtMs: nowS * 1000, lifetimeS: Math.max(endS - nowS, 1) };
    },
    verify: async (token, nowMs, signal) => {
      try {
        // of the header only `kid` is looked at, and it has to name a key of ours: no jwk, jku or x5c
        const { payload } = await jwtVerify(
          token,
          async ({ kid }) => {
            const key = kid === undefined ? undefined : await keys.verifier(kid, nowMs, signal);
            if (key === undefined) throw new errors.JWKSNoMatchingKey();
            return key;
          },
          {
            algorithms: [signingAlgorithm],
            issuer,
            audience: service,
            typ: "JWT",
            requiredClaims: ["exp", "iat", "nbf", "jti", "sub"],
            maxTokenAge: accessTokenLifetimeS,
            clockTolerance: leewayS,
            currentDate: new Date(nowMs),
          },
        );
        const { sub, exp, access } = claims.parse(payload);
        const untilMs = (exp + leewayS) * 1000;
        return { subject: sub, access: access.map(({ name, actions }) => ({ repository: name, actions })), untilMs };
      } catch (error) {
        if (error instanceof errors.JOSEError || error instanceof z.ZodError) return undefined;
        throw error;
      }
    },
  };
}

function reject(context: z.RefinementCtx): Repository {
  context.addIssue({ code: "custom", message: "expected a repository" });
  return z.NEVER;
}
