import { type Digest, digestAlgorithm, digestOf } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import { parseManifest } from "../../oci/manifest.ts";
import { type Repository, isTag } from "../../oci/repository.ts";
import { readLink } from "../blobs/links.ts";
import { readRecordObject } from "../blobs/record-object.ts";
import { DamagedRecordError } from "../bucket/records.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { digestOfKey, storageKeys } from "../bucket/storage-keys.ts";
import { concurrently } from "../../config/concurrently.ts";
import { statManifest } from "../manifests/manifest-content.ts";
import { requireChildren } from "../manifests/require-children.ts";
import { readTag } from "../manifests/tag-records.ts";
import { type Damage, type ScrubReport, addReports, damageReport, nothingScrubbed } from "./report.ts";
import { type ScrubDeps, scrubBlob } from "./scrub-blob.ts";

const atATime = 8;
const blobsAtATime = 4;

/** Whether all of one repository leads to sound things: its links to digests, its manifests to what they name, its tags to manifests. */
export async function scrubRepository(
  deps: ScrubDeps,
  { repository, withBlobs }: { repository: Repository; withBlobs: boolean },
  signal: AbortSignal,
): Promise<ScrubReport> {
  const { bucket } = deps;
  let report = nothingScrubbed;
  const check = async (prefix: string, most: number, look: (key: string) => Promise<Partial<ScrubReport>>) => {
    await concurrently(bucket.walk(prefix, signal), most, async ({ key }) => {
      const found = await look(key);
      report = addReports(report, found);
    });
  };
  await check(storageKeys.blobs(repository), atATime, (key) => scrubLink(bucket, key, signal));
  if (withBlobs) {
    await check(storageKeys.blobs(repository), blobsAtATime, async (key) => {
      const digest = digestOfKey(key);
      return digest === undefined ? {} : scrubBlob(deps, digest, signal);
    });
  }
  await check(storageKeys.manifests(repository), atATime, (key) => scrubManifest(bucket, repository, key, signal));
  await check(storageKeys.tags(repository), atATime, (key) => scrubTag(bucket, repository, key, signal));
  return report;
}

async function scrubLink(bucket: Bucket, key: string, signal: AbortSignal): Promise<Partial<ScrubReport>> {
  const damage = (expected: string, found: string): Partial<ScrubReport> => ({
    links: 1,
    ...damageReport({ kind: "link", key, expected, found, quarantined: false }),
  });
  const digest = digestOfKey(key);
  if (digest === undefined) return damage("a digest at the end of the key", "none");
  try {
    const link = await readRecordObject(bucket, key, signal);
    if (link === undefined || link.life.state === "dying" || link.life.state === "quarantined") return {};
    const target = await readRecordObject(bucket, storageKeys.digest(digest), signal);
    if (target?.record.key === link.record.key) return { links: 1 };
    if ((await readRecordObject(bucket, key, signal))?.etag !== link.etag) return {};
    return damage(`the bytes of ${digest}: ${target?.record.key ?? "unknown, as its record is gone"}`, link.record.key);
  } catch (error) {
    if (error instanceof DamagedRecordError) return damage("a record of ours", "something else");
    throw error;
  }
}

async function scrubManifest(bucket: Bucket, repository: Repository, key: string, signal: AbortSignal): Promise<Partial<ScrubReport>> {
  const digest = digestOfKey(key);
  const stored = await bucket.get(key, signal);
  if (stored === undefined) return {};
  const damage = (expected: string, found: string): Partial<ScrubReport> => ({
    manifests: 1,
    ...damageReport({ kind: "manifest", key, expected, found, quarantined: false }),
  });
  if (digest === undefined) return damage("a digest at the end of the key", "none");
  const actual = digestOf(stored.bytes, digestAlgorithm(digest));
  if (actual !== digest) return damage(digest, actual);
  try {
    const stat = async (of: Repository, child: Digest) => {
      const link = await readLink(bucket, of, child, signal).catch((error: unknown) => {
        if (error instanceof DamagedRecordError) return undefined;
        throw error;
      });
      return link === undefined ? undefined : { mediaType: "application/octet-stream", digest: child, size: link.sizeBytes };
    };
    await requireChildren({ bucket, blobs: { stat } }, repository, parseManifest(stored.bytes, stored.contentType), signal);
    return { manifests: 1 };
  } catch (error) {
    if (!(error instanceof DistributionError) || !error.code.startsWith("MANIFEST_")) throw error;
    if ((await bucket.head(key, signal)) === undefined) return {};
    return damage("all that it names in its repository", `${error.code} ${JSON.stringify(error.detail ?? {})}`);
  }
}

async function scrubTag(bucket: Bucket, repository: Repository, key: string, signal: AbortSignal): Promise<Partial<ScrubReport>> {
  const tag = key.slice(storageKeys.tags(repository).length);
  const damage = (found: string): Damage => ({
    kind: "tag",
    key,
    expected: "the name of a manifest that is there",
    found,
    quarantined: false,
  });
  if (!isTag(tag)) return { tags: 1, ...damageReport(damage("no tag")) };
  const descriptor = await readTag(bucket, repository, tag, signal);
  if (descriptor === undefined) return {};
  if ((await statManifest(bucket, repository, descriptor.digest, signal)) !== undefined) return { tags: 1 };
  if ((await readTag(bucket, repository, tag, signal))?.digest !== descriptor.digest) return {};
  return { tags: 1, ...damageReport(damage(`${descriptor.digest}, which is gone`)) };
}
