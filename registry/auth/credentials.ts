import { BoundedMap } from "../../config/bounded-map.ts";
import { systemUser } from "../../config/registry-client.ts";
import type { Grant } from "../../oci/access.ts";
import type { Login } from "../../oci/routes/basic-login.ts";
import { hasHash, hashSecret, parseDeployToken } from "../../config/deploy-token.ts";
import type { DeployTokenRecord, DeployTokens } from "./deploy-tokens.ts";

/** Who somebody proved to be: `subject` is the id of a deploy token, or the system's user. */
export type Identity = { readonly subject: string; readonly grant: Grant; readonly expiresAtMs?: number };

export type CredentialChecker = {
  /** Whether the last look at these credentials found them right, without asking the bucket; whether they still are, `check` tells. */
  wasRight(login: Login): boolean;
  /** Undefined for wrong credentials as for unknown ones. */
  check(login: Login, nowMs: number, signal: AbortSignal): Promise<Identity | undefined>;
};

/** A revoked token is refused everywhere after this long, though every instance remembers what it read. */
const rememberedMs = 10_000;
const mostRemembered = 1000;
/** compared with when there is no such token, so that an unknown id takes as long as a wrong secret */
const nobodysHash = hashSecret("");

/** Checks passwords against the system's token and the deploy tokens of the bucket. A deploy token's password is enough, whatever the user. */
export function createCredentialChecker(tokens: Pick<DeployTokens, "find">, systemToken: string | undefined): CredentialChecker {
  const systemHash = systemToken === undefined ? undefined : hashSecret(systemToken);
  const remembered = new BoundedMap<string, { readonly record: DeployTokenRecord | undefined; readonly untilMs: number }>(mostRemembered);
  /** by id the hash of the secret that was right, of those that came last */
  const right = new BoundedMap<string, string>(mostRemembered);

  const isSystem = ({ username, password }: Login) => systemHash !== undefined && username === systemUser && hasHash(password, systemHash);
  const recall = (id: string, nowMs: number) => {
    const found = remembered.get(id);
    return found !== undefined && found.untilMs > nowMs ? found : undefined;
  };
  const read = async (id: string, nowMs: number, signal: AbortSignal) => {
    const record = await tokens.find(id, signal);
    remembered.set(id, { record, untilMs: nowMs + rememberedMs });
    return record;
  };
  const wasRight: CredentialChecker["wasRight"] = (login) => {
    if (isSystem(login)) return true;
    const token = parseDeployToken(login.password);
    return token !== undefined && hasHash(token.secret, right.get(token.id) ?? nobodysHash);
  };
  const note = (login: Login, id: string, identity: Identity | undefined, record: DeployTokenRecord | undefined) => {
    // a wrong secret says nothing of the right one
    if (identity === undefined && !wasRight(login)) return;
    right.delete(id);
    if (identity === undefined || record === undefined) return;
    right.set(id, record.secretSha256);
  };

  return {
    wasRight,
    check: async (login, nowMs, signal) => {
      if (isSystem(login)) return systemIdentity;
      const token = parseDeployToken(login.password);
      if (token === undefined) return undefined;
      const recalled = recall(token.id, nowMs);
      const record = recalled === undefined ? await read(token.id, nowMs, signal) : recalled.record;
      const identity = identify(record, token.secret, nowMs);
      note(login, token.id, identity, record);
      return identity;
    },
  };
}

const systemIdentity: Identity = { subject: systemUser, grant: { within: "everything", actions: ["pull", "push", "delete"] } };

function identify(record: DeployTokenRecord | undefined, secret: string, nowMs: number): Identity | undefined {
  const isRight = hasHash(secret, record?.secretSha256 ?? nobodysHash);
  if (record === undefined || !isRight || record.revokedAtMs !== undefined) return undefined;
  const { id, org, app, actions, expiresAtMs } = record;
  if (expiresAtMs !== undefined && expiresAtMs <= nowMs) return undefined;
  return {
    subject: id,
    grant: { within: app === undefined ? { org } : { org, app }, actions },
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
  };
}
