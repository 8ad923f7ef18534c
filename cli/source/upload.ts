import { createReadStream } from "node:fs";
import { createDistributionClient } from "../../oci/distribution-client.ts";
import type { Repository } from "../../oci/repository.ts";
import type { SourceRef } from "../../workflows/types.ts";
import type { PackedSource } from "./pack.ts";

export type UploadedSource = { readonly source: SourceRef; readonly sentBytes: number };

/** Makes a packed source a blob of the app's repository; a source that is there already is not sent. */
export async function uploadSource(
  registryUrl: string,
  repository: Repository,
  packed: PackedSource,
  signal: AbortSignal,
): Promise<UploadedSource> {
  using registry = createDistributionClient({ baseUrl: registryUrl });
  const { digest, sizeBytes } = packed;
  const source = { repository, digest, sizeBytes };
  if ((await registry.statBlob(repository, digest, signal)) !== undefined) return { source, sentBytes: 0 };
  await registry.pushBlob(repository, { digest, sizeBytes, open: (offset) => createReadStream(packed.file, { start: offset }) }, signal);
  return { source, sentBytes: sizeBytes };
}
