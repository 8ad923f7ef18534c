import { z } from "zod";
import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { DamagedRecordError, formatRecord, parseRecord } from "../bucket/records.ts";
import { storageKeys } from "../bucket/storage-keys.ts";

/** A host that has an image says so anew each day while the image is used. */
export const locationLifeMs = 7 * 24 * 60 * 60_000;
/** a lookup answers so many hosts: more are no help to anybody */
const mostAnswered = 5;
const mostListed = 200;

export const hostPattern = /^[a-z0-9][a-z0-9-]{0,62}$/;

const locationRecord = z.object({ url: z.string().max(300), atMs: z.number() });

/** Where else an image is: that host's mirror, and when it said so. */
export type Location = { readonly host: string; readonly url: string; readonly atMs: number };

export type LocationRecords = {
  /** A few of the hosts that have it, by chance when there are many, so that they share the load. */
  find(repository: Repository, digest: Digest, signal: AbortSignal): Promise<readonly Location[]>;
  put(repository: Repository, digest: Digest, location: Location, signal: AbortSignal): Promise<void>;
  remove(repository: Repository, digest: Digest, host: string, signal: AbortSignal): Promise<void>;
};

/** Which hosts have which images, one object for each pair. Nothing depends on them: what is missing or wrong costs a longer way. */
export function createLocationRecords(bucket: Bucket): LocationRecords {
  async function read(repository: Repository, digest: Digest, host: string, signal: AbortSignal): Promise<Location | undefined> {
    const key = storageKeys.location(repository, digest, host);
    try {
      const record = parseRecord(locationRecord, await bucket.get(key, signal));
      if (record === undefined || record.atMs >= Date.now() - locationLifeMs) return record && { host, ...record };
    } catch (error) {
      if (!(error instanceof DamagedRecordError)) throw error;
    }
    await bucket.delete(key, signal);
    return undefined;
  }

  return {
    async find(repository, digest, signal) {
      const prefix = storageKeys.locations(repository, digest);
      const hosts = (await bucket.list(prefix, { limit: mostListed }, signal)).map((key) => key.slice(prefix.length));
      const found = await Promise.all(drawn(hosts, mostAnswered).map((host) => read(repository, digest, host, signal)));
      return found.filter((location) => location !== undefined);
    },
    put: (repository, digest, { host, url, atMs }, signal) =>
      bucket.put(storageKeys.location(repository, digest, host), formatRecord({ url, atMs }), signal),
    remove: (repository, digest, host, signal) => bucket.delete(storageKeys.location(repository, digest, host), signal),
  };
}

/** Removes the records that nobody looks up any more. */
export async function sweepLocations(bucket: Bucket, nowMs: number, signal: AbortSignal): Promise<number> {
  let removed = 0;
  for await (const { key, changedAtMs } of bucket.walk(storageKeys.allLocations, signal)) {
    if (changedAtMs >= nowMs - locationLifeMs) continue;
    await bucket.delete(key, signal);
    removed += 1;
  }
  return removed;
}

function drawn<T>(all: readonly T[], count: number): readonly T[] {
  const left = [...all];
  return Array.from({ length: Math.min(count, left.length) }, () => left.splice(Math.floor(Math.random() * left.length), 1)[0]!);
}
