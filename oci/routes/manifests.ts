import { DistributionError } from "../errors.ts";
import type { Descriptor } from "../descriptor.ts";
import { formatManifestReference } from "../reference.ts";
import { type Tag, isTag } from "../repository.ts";
import { isKnownToClient, replacementRule } from "./conditions.ts";
import { type DistributionCall, type EndpointOf, header } from "./distribution-call.ts";
import type { OpenBody } from "./open-body.ts";
import { readManifestBody } from "./manifest-body.ts";

/** in one request; the spec asks for at least 10 */
const mostTags = 50;

type ManifestCall<K extends "readManifest" | "resolveManifest" | "writeManifest"> = DistributionCall<EndpointOf<K>>;

/** end-3, HEAD. */
export async function resolveManifest({ endpoint, store, request, reply, signal }: ManifestCall<"resolveManifest">): Promise<void> {
  const descriptor = await store.manifests.resolve(endpoint.repository, endpoint.reference, signal);
  if (descriptor === undefined) throw unknown(endpoint);
  const known = isKnownToClient(request, descriptor.digest);
  describe(reply, descriptor);
  if (known) await reply.code(304).send();
  else await reply.code(200).header("content-length", descriptor.size).send();
}

/** end-3, GET. */
export async function readManifest({ endpoint, store, request, reply, signal }: ManifestCall<"readManifest">): Promise<void> {
  if (["if-match", "if-none-match"].some((name) => header(request, name) !== undefined)) {
    // what the client has already is not read
    const descriptor = await store.manifests.resolve(endpoint.repository, endpoint.reference, signal);
    if (descriptor === undefined) throw unknown(endpoint);
    if (isKnownToClient(request, descriptor.digest)) {
      describe(reply, descriptor);
      await reply.code(304).send();
      return;
    }
  }
  const content = await store.manifests.read(endpoint.repository, endpoint.reference, signal);
  if (content === undefined) throw unknown(endpoint);
  describe(reply, content.descriptor);
  await reply.code(200).send(Buffer.from(content.bytes));
}

/** end-7a and end-7b. */
export async function writeManifest(
  { endpoint, query, store, request, reply, signal }: ManifestCall<"writeManifest">,
  openBody: OpenBody,
): Promise<void> {
  const mediaType = parseMediaType(header(request, "content-type"));
  const tags = endpoint.reference.kind === "digest" ? parseTags(query.getAll("tag")) : [];
  const mayReplace = endpoint.reference.kind === "tag" ? replacementRule(request) : undefined;
  const bytes = await readManifestBody(header(request, "content-length"), openBody);
  const more = { tags, ...(mayReplace === undefined ? {} : { mayReplace }) };
  const written = await store.manifests.write(endpoint.repository, endpoint.reference, mediaType, bytes, signal, more);
  const location = `/v2/${endpoint.repository}/manifests/${formatManifestReference(endpoint.reference)}`;
  if (tags.length > 0 && written.tags !== undefined) reply.header("oci-tag", written.tags.join(", "));
  if (written.subject !== undefined) reply.header("oci-subject", written.subject);
  await reply.code(201).header("location", location).header("docker-content-digest", written.digest).send();
}

function parseTags(texts: readonly string[]): Tag[] {
  if (texts.length > mostTags) throw new DistributionError("TOO_MANY_TAGS", { found: texts.length, expected: `at most ${mostTags}` });
  return [...new Set(texts)].map((text) => {
    if (isTag(text)) return text;
    throw new DistributionError("MANIFEST_INVALID", { tag: text.slice(0, 160), expected: "a tag" });
  });
}

function parseMediaType(contentType: string | undefined): string {
  const mediaType = contentType?.split(";")[0]!.trim().toLowerCase();
  if (mediaType === undefined || mediaType === "") throw new DistributionError("MANIFEST_INVALID", { expected: "a Content-Type header" });
  return mediaType;
}

function unknown({ repository, reference }: EndpointOf<"readManifest"> | EndpointOf<"resolveManifest">): DistributionError {
  return new DistributionError("MANIFEST_UNKNOWN", { repository, reference: formatManifestReference(reference) });
}

function describe(reply: ManifestCall<"readManifest">["reply"], { mediaType, digest }: Descriptor): void {
  reply.header("content-type", mediaType).header("docker-content-digest", digest).header("etag", `"${digest}"`);
}
