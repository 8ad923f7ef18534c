import type { S3Client } from "@aws-sdk/client-s3";
import { z } from "zod";
import type { Release } from "../../workflows/types.ts";
import { type Bucket, createBucket } from "../bucket/bucket.ts";
import { parseRecord } from "../bucket/records.ts";
import { storageKeys } from "../bucket/storage-keys.ts";

/** A version or an idempotency key has a release already, and it is another one. */
export class ReleaseConflictError extends Error {
  override readonly name = "ReleaseConflictError";
}

/** The releases of all apps, past Temporal's retention: immutable, one per version and one per idempotency key. */
export type ReleaseLedger = {
  /** Writing the same release again succeeds. @throws ReleaseConflictError when its version or its key is taken by another. */
  record(release: Release, signal: AbortSignal): Promise<void>;
  findByKey(org: string, app: string, key: string, signal: AbortSignal): Promise<Release | undefined>;
  /** By version, oldest first. */
  list(org: string, app: string, signal: AbortSignal): Promise<readonly Release[]>;
  /** The newest ones, oldest first, without reading the others. */
  newest(org: string, app: string, count: number, signal: AbortSignal): Promise<readonly Release[]>;
};

/** What identifies a release is checked on reading; the rest is as it was written. */
const storedRelease = z.custom<Release>(
  (value) => z.looseObject({ org: z.string(), app: z.string(), key: z.string(), version: z.number().int() }).safeParse(value).success,
);

const readsAtATime = 8;

export function createReleaseLedger(deps: { s3: S3Client; bucket: string }): ReleaseLedger {
  const bucket = createBucket(deps);
  return {
    record: async (release, signal) => {
      const { org, app, version, key } = release;
      const byKey = storageKeys.releaseKey(org, app, key);
      const byVersion = storageKeys.releaseVersion(org, app, version);
      // a key that is taken must not leave a version behind
      await refuseOther(bucket, byKey, release, signal);
      // the version first: after a crash in between, the same call again finds both its own
      await writeOnce(bucket, byVersion, release, signal);
      await writeOnce(bucket, byKey, release, signal);
    },
    findByKey: async (org, app, key, signal) => parseRecord(storedRelease, await bucket.get(storageKeys.releaseKey(org, app, key), signal)),
    list: async (org, app, signal) => read(bucket, await versionKeys(bucket, org, app, signal), signal),
    newest: async (org, app, count, signal) =>
      count === 0 ? [] : read(bucket, (await versionKeys(bucket, org, app, signal)).slice(-count), signal),
  };
}

/** In the order of their versions: keys have them with leading zeros. */
async function versionKeys(bucket: Bucket, org: string, app: string, signal: AbortSignal): Promise<readonly string[]> {
  return await bucket.list(storageKeys.releaseVersions(org, app), {}, signal);
}

async function read(bucket: Bucket, keys: readonly string[], signal: AbortSignal): Promise<readonly Release[]> {
  const releases: (Release | undefined)[] = [];
  for (let at = 0; at < keys.length; at += readsAtATime) {
    const batch = keys.slice(at, at + readsAtATime).map((key) => bucket.get(key, signal));
    releases.push(...(await Promise.all(batch)).map((object) => parseRecord(storedRelease, object)));
  }
  return releases.filter((release) => release !== undefined);
}

async function writeOnce(bucket: Bucket, key: string, release: Release, signal: AbortSignal): Promise<void> {
  if (await bucket.putIf({ if: "absent" }, key, Buffer.from(canonical(release)), signal, "application/json")) return;
  await refuseOther(bucket, key, release, signal);
}

async function refuseOther(bucket: Bucket, key: string, release: Release, signal: AbortSignal): Promise<void> {
  const existing = parseRecord(storedRelease, await bucket.get(key, signal));
  if (existing === undefined || canonical(existing) === canonical(release)) return;
  throw new ReleaseConflictError(
    `Cannot record release ${release.version} of ${release.org}/${release.app}, key "${release.key}": ` +
      `release ${existing.version} with key "${existing.key}" is recorded in its place`,
  );
}

/** JSON with sorted names, so that equal releases are equal text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
