import { DistributionError } from "../errors.ts";
import type { DistributionCall, EndpointOf } from "./distribution-call.ts";
import { announceNextPage, parsePage } from "./pages.ts";

/** end-8a and end-8b: tags in ASCII order, one page at a time. */
export async function listTags({ endpoint, query, store, reply, signal }: DistributionCall<EndpointOf<"listTags">>): Promise<void> {
  const { repository } = endpoint;
  const page = parsePage(query);
  // one more than asked for tells whether there is a next page
  const found = await store.manifests.tags(repository, { ...page, limit: page.limit + 1 }, signal);
  if (found === undefined) throw new DistributionError("NAME_UNKNOWN", { name: repository });
  const tags = found.slice(0, page.limit);
  const last = tags.at(-1);
  if (last !== undefined && tags.length < found.length) announceNextPage(reply, `/v2/${repository}/tags/list`, { ...page, last });
  await reply.code(200).send({ name: repository, tags });
}
