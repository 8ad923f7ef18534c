import { type Repository, type Tag, isTag } from "../../oci/repository.ts";
import type { Page } from "../../oci/store.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { startAfter, storageKeys } from "../bucket/storage-keys.ts";

/** Tags in ASCII order; undefined for a repository that holds nothing at all. */
export async function listTags(
  bucket: Bucket,
  repository: Repository,
  { limit, last }: Page,
  signal: AbortSignal,
): Promise<Tag[] | undefined> {
  const prefix = storageKeys.tags(repository);
  const page = { ...(limit === undefined ? {} : { limit }), ...(last === undefined ? {} : { startAfter: startAfter(prefix, last) }) };
  const keys = limit === 0 ? [] : await bucket.list(prefix, page, signal);
  if (keys.length === 0 && (await bucket.list(storageKeys.repository(repository), { limit: 1 }, signal)).length === 0) return undefined;
  return keys.map((key) => key.slice(prefix.length)).filter(isTag);
}
