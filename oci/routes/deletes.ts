import { DistributionError } from "../errors.ts";
import { formatManifestReference } from "../reference.ts";
import { type DistributionCall, type EndpointOf, offered } from "./distribution-call.ts";

/** end-10: out of this repository; other repositories keep the blob. */
export async function deleteBlob({ endpoint, store, reply, signal }: DistributionCall<EndpointOf<"deleteBlob">>): Promise<void> {
  const { repository, digest } = endpoint;
  const deleted = await offered(store.deletes, "deletion").blob(repository, digest, signal);
  if (!deleted) throw new DistributionError("BLOB_UNKNOWN", { digest });
  await reply.code(202).send();
}

/** end-9: a tag, or a manifest with all tags that name it. */
export async function deleteManifest({ endpoint, store, reply, signal }: DistributionCall<EndpointOf<"deleteManifest">>): Promise<void> {
  const { repository, reference } = endpoint;
  const deletes = offered(store.deletes, "deletion");
  const deleted =
    reference.kind === "tag"
      ? await deletes.tag(repository, reference.tag, signal)
      : await deletes.manifest(repository, reference.digest, signal);
  if (!deleted) throw new DistributionError("MANIFEST_UNKNOWN", { repository, reference: formatManifestReference(reference) });
  await reply.code(202).send();
}
