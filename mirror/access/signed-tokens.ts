import { randomUUID } from "node:crypto";
import { type JWTPayload, SignJWT, errors, jwtVerify } from "jose";

const algorithm = "HS256";
const issuer = "slipway-mirror";

export type SignedTokenOptions = {
  /** what they are for: those for another audience are no good, whoever signed them */
  readonly audience: string;
  /** how old they may be, whatever they say */
  readonly longestAgeS?: number;
  /** of the clock of whoever made them */
  readonly leewayS?: number;
};

/** Tokens that need no record of them: what they are good for stands in them, signed (JWT, RFC 7519). */
export type SignedTokens = {
  mint(claims: JWTPayload, lifetimeS: number, nowMs: number): Promise<{ readonly token: string; readonly expiresAtMs: number }>;
  /** Undefined for whatever was not made with this key for this audience, or is over. */
  verify(token: string, nowMs: number): Promise<JWTPayload | undefined>;
};

export function createSignedTokens(key: Uint8Array, { audience, longestAgeS, leewayS = 0 }: SignedTokenOptions): SignedTokens {
  const demands = {
    algorithms: [algorithm],
    issuer,
    audience,
    typ: "JWT",
    requiredClaims: ["exp", "iat", "jti"],
    clockTolerance: leewayS,
    ...(longestAgeS === undefined ? {} : { maxTokenAge: longestAgeS }),
  };
  return {
    async mint(claims, lifetimeS, nowMs) {
      const nowS = Math.floor(nowMs / 1000);
      const endS = nowS + lifetimeS;
      const token = await new SignJWT(claims)
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
        return (await jwtVerify(token, key, { ...demands, currentDate: new Date(nowMs) })).payload;
      } catch (error) {
        if (error instanceof errors.JOSEError) return undefined;
        throw error;
      }
    },
  };
}
