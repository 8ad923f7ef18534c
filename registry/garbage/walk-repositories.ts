import type { Repository } from "../../oci/repository.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { repositoryOfKey, storageKeys } from "../bucket/storage-keys.ts";

/** sorts behind all that a repository holds */
const pastTheEnd = "~";

/** Every repository, in the order of its key: one listing of one key each. With `after` those behind that one. */
export async function* walkRepositories(bucket: Bucket, signal: AbortSignal, after?: Repository): AsyncGenerator<Repository> {
  const { allRepositories } = storageKeys;
  for (let startAfter = after === undefined ? allRepositories : storageKeys.repository(after) + pastTheEnd; ;) {
    const [key] = await bucket.list(allRepositories, { limit: 1, startAfter }, signal);
    if (key === undefined) return;
    const repository = repositoryOfKey(key);
    startAfter = repository === undefined ? key : storageKeys.repository(repository) + pastTheEnd;
    if (repository !== undefined) yield repository;
  }
}
