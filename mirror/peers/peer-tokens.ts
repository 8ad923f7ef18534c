import { hkdfSync } from "node:crypto";
import { type Repository, isRepository } from "../../oci/repository.ts";
import { createSignedTokens } from "../access/signed-tokens.ts";

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
  const signed = createSignedTokens(key, { audience: "slipway-peers", longestAgeS: lifetimeS, leewayS });
  return {
    mint: async (repository, nowMs) => (await signed.mint({ repository }, lifetimeS, nowMs)).token,
    async verify(token, nowMs) {
      const repository = (await signed.verify(token, nowMs))?.["repository"];
      return typeof repository === "string" && isRepository(repository) ? repository : undefined;
    },
  };
}
