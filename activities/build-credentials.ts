import { basicAuthorization } from "../oci/client/bearer-tokens.ts";
import type { SessionOffer } from "../builder/buildkit/session.ts";
import type { MirrorAdmin } from "../mirror/admin-client.ts";
import { sourcesOf } from "./build-contexts.ts";
import type { BuildInput } from "./types.ts";

export type MintToken = MirrorAdmin["mintToken"];

/** Where a build meets the mirror: by the images' name and by its address, both `host[:port]`. */
export type MirrorNames = { readonly imageHost: string; readonly mirrorAddress: string };

/**
 * All that a build's session tells buildkitd: a token for the app's repository, for registries, and one that reads what was uploaded for
 * this build and nothing else, for BuildKit's HTTP source, which takes one for each host. That one goes by a secret's id, and any step of
 * the Dockerfile may mount a secret whose id it knows: it finds a token for what it was given already.
 * @throws MirrorAdminError, or the signal's reason
 */
export async function buildCredentials(
  mint: MintToken,
  input: Pick<BuildInput, "org" | "app" | "source" | "build">,
  { imageHost, mirrorAddress }: MirrorNames,
  signal: AbortSignal,
): Promise<SessionOffer> {
  const { org, app } = input;
  const blob = sourcesOf(input).map(({ digest }) => digest);
  const [push, read] = await Promise.all([mint(org, { app }, signal), mint(org, { app, blob }, signal)]);
  const login = { username: "build", password: push.token };
  const { hostname } = new URL(`http://${mirrorAddress}`);
  return {
    // source/http in BuildKit looks for this id (HTTPAuthHeaderSecretPrefix)
    secrets: { [`HTTP_AUTH_HEADER_${hostname}`]: basicAuthorization({ username: "source", password: read.token }) },
    registries: { [imageHost]: login, [mirrorAddress]: login },
  };
}
