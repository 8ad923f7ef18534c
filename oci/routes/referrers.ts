import { mediaTypes } from "../media-types.ts";
import { type DistributionCall, type EndpointOf, offered } from "./distribution-call.ts";
import { announceNextPage, parsePage } from "./pages.ts";

/** end-12a and end-12b: an image index of the manifests that name this one as their subject. Never 404, as that means "ask for the tag". */
export async function listReferrers({
  endpoint: { repository, digest },
  query,
  store,
  reply,
  signal,
}: DistributionCall<EndpointOf<"listReferrers">>): Promise<void> {
  const page = parsePage(query);
  const artifactType = query.get("artifactType") || undefined;
  const ask = { ...page, ...(artifactType === undefined ? {} : { artifactType }) };
  const { referrers, next } = await offered(store.referrers, "referrers").list(repository, digest, ask, signal);
  if (artifactType !== undefined) reply.header("oci-filters-applied", "artifactType");
  if (next !== undefined) announceNextPage(reply, `/v2/${repository}/referrers/${digest}`, { ...page, last: next }, { artifactType });
  // as bytes: fastify adds a charset to JSON that it makes
  const index = { schemaVersion: 2, mediaType: mediaTypes.imageIndex, manifests: referrers };
  await reply
    .code(200)
    .header("content-type", mediaTypes.imageIndex)
    .send(Buffer.from(JSON.stringify(index)));
}
