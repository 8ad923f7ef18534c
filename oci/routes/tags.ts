import { DistributionError } from "../errors.ts";
import type { DistributionCall, EndpointOf } from "./distribution-call.ts";

/** end-8a and end-8b: tags in ASCII order, one page at a time when the client asks for `n`. */
export async function listTags({ endpoint, query, store, reply, signal }: DistributionCall<EndpointOf<"listTags">>): Promise<void> {
  const { repository } = endpoint;
  const [limit, last] = [parseLimit(query.get("n")), query.get("last")];
  // one more than asked for tells whether there is a next page
  const page = { ...(limit === undefined ? {} : { limit: limit + 1 }), ...(last === null ? {} : { last }) };
  const found = await store.manifests.tags(repository, page, signal);
  if (found === undefined) throw new DistributionError("NAME_UNKNOWN", { name: repository });
  const tags = limit === undefined ? found : found.slice(0, limit);
  const lastTag = tags.at(-1);
  if (lastTag !== undefined && tags.length < found.length) {
    reply.header("link", `</v2/${repository}/tags/list?n=${limit}&last=${encodeURIComponent(lastTag)}>; rel="next"`);
  }
  await reply.code(200).send({ name: repository, tags });
}

function parseLimit(text: string | null): number | undefined {
  if (text === null) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new DistributionError("PAGINATION_NUMBER_INVALID", { n: text.slice(0, 40) });
}
