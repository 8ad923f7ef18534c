import { type Digest, isDigest } from "../../oci/digest.ts";
import { type Repository, isRepository } from "../../oci/repository.ts";

/** Where builders read a source that came in packs: no blob of its digest exists, so it has no place under `/v2/`. */
export const sourcesPrefix = "/slipway/v1/sources/";

type Source = { readonly repository: Repository; readonly digest: Digest };

export const sourcePath = ({ repository, digest }: Source): string => `${sourcesPrefix}${repository}/${digest}`;

export function parseSourcePath(path: string): Source | undefined {
  const slash = path.lastIndexOf("/");
  const [repository, digest] = [path.slice(sourcesPrefix.length, slash), path.slice(slash + 1)];
  return path.startsWith(sourcesPrefix) && isRepository(repository) && isDigest(digest) ? { repository, digest } : undefined;
}
