import { z } from "zod";
import { appNameRule, appNameShape } from "../../config/app-config-schema.ts";
import { isOrgName } from "../../config/org-name.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { formatRecord, parseRecord } from "../bucket/records.ts";
import { storageKeys } from "../bucket/storage-keys.ts";
import { registryActions } from "../../oci/access.ts";
import { isDeployTokenId } from "../../config/deploy-token.ts";

const deployTokenRecord = z.object({
  id: z.string().refine(isDeployTokenId, "expected 16 hex characters"),
  name: z.string().min(1).max(100),
  secretSha256: z.string().regex(/^[0-9a-f]{64}$/),
  org: z.string().refine(isOrgName, "expected an org"),
  /** without it the token is good for the whole org */
  app: z.string().regex(appNameShape, `expected ${appNameRule}`).optional(),
  actions: z.array(z.enum(registryActions)).min(1),
  createdAtMs: z.number().int().positive(),
  expiresAtMs: z.number().int().positive().optional(),
  revokedAtMs: z.number().int().positive().optional(),
});

/** A deploy token as the bucket has it: its secret only as a hash. */
export type DeployTokenRecord = z.infer<typeof deployTokenRecord>;

export type DeployTokens = {
  /** Writes a new token's record; a second time with the same content is no error. @throws Error when the id is taken, or a field is wrong. */
  create(record: DeployTokenRecord, signal: AbortSignal): Promise<void>;
  /** Undefined when there is none of that id. Not cached. */
  find(id: string, signal: AbortSignal): Promise<DeployTokenRecord | undefined>;
  list(signal: AbortSignal): Promise<readonly DeployTokenRecord[]>;
  /** Marks a token as revoked, once and for good; undefined when there is none of that id. */
  revoke(id: string, revokedAtMs: number, signal: AbortSignal): Promise<DeployTokenRecord | undefined>;
};

const mostConflicts = 10;
const readsAtOnce = 16;

/** The deploy tokens of a registry, one object each. */
export function createDeployTokens(bucket: Bucket): DeployTokens {
  const find = async (id: string, signal: AbortSignal) =>
    isDeployTokenId(id) ? parseRecord(deployTokenRecord, await bucket.get(storageKeys.deployToken(id), signal)) : undefined;
  return {
    find,
    create: async (record, signal) => {
      const valid = deployTokenRecord.parse(record);
      if (await bucket.putIf({ if: "absent" }, storageKeys.deployToken(valid.id), formatRecord(valid), signal)) return;
      const found = await find(valid.id, signal);
      // an activity that is tried again finds what its first try wrote
      if (found?.secretSha256 !== valid.secretSha256) throw new Error(`Cannot make deploy token "${valid.id}": the id is taken`);
    },
    list: async (signal) => {
      const ids = (await bucket.list(storageKeys.deployTokens, {}, signal)).map((key) => key.slice(storageKeys.deployTokens.length));
      const records: DeployTokenRecord[] = [];
      for (let from = 0; from < ids.length; from += readsAtOnce) {
        const page = await Promise.all(ids.slice(from, from + readsAtOnce).map((id) => find(id, signal)));
        records.push(...page.filter((record) => record !== undefined));
      }
      return records.toSorted((a, b) => a.createdAtMs - b.createdAtMs);
    },
    revoke: async (id, revokedAtMs, signal) => {
      if (!isDeployTokenId(id)) return undefined;
      const key = storageKeys.deployToken(id);
      for (let attempt = 1; attempt <= mostConflicts; attempt += 1) {
        const current = await bucket.get(key, signal);
        const record = parseRecord(deployTokenRecord, current);
        if (current === undefined || record === undefined || record.revokedAtMs !== undefined) return record;
        const revoked = { ...record, revokedAtMs };
        if (await bucket.putIf({ if: "unchanged", etag: current.etag }, key, formatRecord(revoked), signal)) return revoked;
      }
      throw new Error(`Cannot revoke deploy token "${id}": too many writers of it`);
    },
  };
}
