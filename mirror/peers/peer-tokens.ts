import { hkdfSync, randomUUID } from "node:crypto";
import { SignJWT, errors, jwtVerify } from "jose";
import { type Repository, isRepository } from "../../oci/repository.ts";

const algorithm = "HS256";
const issuer = "slipway-mirror";
const audience = "slipway-peers";
const lifetimeS = 60;
/** clocks of two hosts */
const leewayS = 15;

/** With which a mirror reads one repository from the mirror of another host. */
export type PeerTokens = {
  mint(repository: Repository, nowMs: number): Promise<string>;
  /** The repository it is good for; undefined for whatever no host of this registry made, or that is over. */
  verify(token: string, nowMs: number): Promise<Repository | undefined>;
};

/** Every host that knows the registry's system token derives the same key: nothing is handed out, and a new system token ends all. */
export function createPeerTokens(systemToken: string): PeerTokens {
  const key = new Uint8Array(hkdfSync("sha256", systemToken, "", "slipway mirror peers 1", 32));
  return {
    mint(repository, nowMs) {
      const nowS = Math.floor(nowMs / 1000);
      return new SignJWT({ repository })
        .setProtectedHeader({ alg: algorithm, typ: "JWT" })
        .setIssuer(issuer)
        .setAudience(audience)
        .setIssuedAt(nowS)
        .setExpirationTime(nowS + lifetimeS)
        .setJti(randomUUID())
        .sign(key);
    },
    async verify(token, nowMs) {
      try {
        const { payload } = await jwtVerify(token, key, {
          algorithms: [algorithm],
          issuer,
          audience,
          typ: "JWT",
          requiredClaims: ["exp", "iat", "jti"],
          maxTokenAge: lifetimeS,
          clockTolerance: leewayS,
          currentDate: new Date(nowMs),
        });
        const { repository } = payload;
        return typeof repository === "string" && isRepository(repository) ? repository : undefined;
      } catch (error) {
        if (error instanceof errors.JOSEError) return undefined;
        throw error;
      }
    },
  };
}
