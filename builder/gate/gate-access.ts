import type { IncomingMessage } from "node:http";
import { isOrgName, orgNameRule } from "../../config/org-name.ts";
import { type Login, parseBasic } from "../../oci/routes/basic-login.ts";
import { GateError } from "./gate-error.ts";

export type GateCaller = { readonly org: string; readonly address: string };

/**
 * What a login may do with an org's builder: `denied` when it is right and may not push in the whole org, `unknown` when it is wrong.
 * @throws GateError TOO_MANY after many wrong ones, UNAVAILABLE when it cannot be checked.
 */
export type GateAccess = (login: Login, caller: GateCaller) => Promise<"allowed" | "denied" | "unknown">;

/** Lets the request pass, or throws what it is answered with. Nothing is said about the org before. */
export async function admit(access: GateAccess, { headers, socket }: IncomingMessage, org: string): Promise<void> {
  if (!isOrgName(org)) throw new GateError("NOT_FOUND", `Cannot find an org of that name: expected ${orgNameRule}`);
  const login = parseBasic(headers.authorization);
  if (login === undefined) throw new GateError("UNAUTHORIZED", "Expected a deploy token as password of Basic authentication");
  const verdict = await access(login, { org, address: socket.remoteAddress ?? "" });
  if (verdict === "unknown") throw new GateError("UNAUTHORIZED", "This token is wrong, revoked or expired");
  if (verdict === "denied")
    throw new GateError("DENIED", `This token may not push in the whole org "${org}": the builder is all of the org's`);
}
