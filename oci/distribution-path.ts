import { type Digest, isDigest } from "./digest.ts";
import { DistributionError } from "./errors.ts";
import { type ManifestReference, parseManifestReference } from "./reference.ts";
import { type Repository, isRepository } from "./repository.ts";

/** What a method and path of the Distribution API ask for (distribution-spec, "Endpoints"). */
export type DistributionEndpoint =
  | { readonly kind: "ping" }
  | { readonly kind: "readBlob" | "statBlob" | "deleteBlob"; readonly repository: Repository; readonly digest: Digest }
  | { readonly kind: "startUpload"; readonly repository: Repository }
  | {
      readonly kind: "uploadStatus" | "appendUpload" | "finishUpload" | "abortUpload";
      readonly repository: Repository;
      readonly id: string;
    }
  | {
      readonly kind: "readManifest" | "resolveManifest" | "writeManifest" | "deleteManifest";
      readonly repository: Repository;
      readonly reference: ManifestReference;
    }
  | { readonly kind: "listTags"; readonly repository: Repository }
  | { readonly kind: "listReferrers"; readonly repository: Repository; readonly digest: Digest };

type Parse = (method: string, repository: Repository, last: string) => DistributionEndpoint | undefined;

const uploadId = /^[A-Za-z0-9._~=-]{1,256}$/;

/** Tried in this order: `blobs/uploads` would also pass for a blob. */
const shapes: readonly (readonly [RegExp, Parse])[] = [
  [/^\/v2\/(.+)\/blobs\/uploads\/?$/, parseUploads],
  [/^\/v2\/(.+)\/blobs\/uploads\/([^/]+)$/, parseUpload],
  [/^\/v2\/(.+)\/blobs\/([^/]+)$/, parseBlob],
  [/^\/v2\/(.+)\/manifests\/([^/]+)$/, parseManifestEndpoint],
  [/^\/v2\/(.+)\/tags\/list$/, parseTags],
  [/^\/v2\/(.+)\/referrers\/([^/]+)$/, parseReferrers],
];

/**
 * Parses the method and the path as sent, query removed and nothing decoded; undefined for a path that is none of the API's.
 * @throws DistributionError NAME_INVALID, DIGEST_INVALID, BLOB_UPLOAD_UNKNOWN, MANIFEST_UNKNOWN or MANIFEST_INVALID (a bad tag that is
 * read or written), UNSUPPORTED for a method that the path does not take.
 */
export function parseDistributionPath(method: string, path: string): DistributionEndpoint | undefined {
  if (path === "/v2/" || path === "/v2") return demand(isRead(method) ? { kind: "ping" } : undefined, method);
  for (const [shape, parse] of shapes) {
    const match = shape.exec(path);
    if (match === null) continue;
    const name = match[1]!;
    if (!isRepository(name)) throw new DistributionError("NAME_INVALID", { name: name.slice(0, 300) });
    return demand(parse(method, name, decode(match[2] ?? "")), method);
  }
  return undefined;
}

function parseUploads(method: string, repository: Repository): DistributionEndpoint | undefined {
  return method === "POST" ? { kind: "startUpload", repository } : undefined;
}

function parseUpload(method: string, repository: Repository, id: string): DistributionEndpoint | undefined {
  const kind = ({ GET: "uploadStatus", HEAD: "uploadStatus", PATCH: "appendUpload", PUT: "finishUpload", DELETE: "abortUpload" } as const)[
    method
  ];
  if (kind === undefined) return undefined;
  if (!uploadId.test(id)) throw new DistributionError("BLOB_UPLOAD_UNKNOWN");
  return { kind, repository, id };
}

function parseBlob(method: string, repository: Repository, text: string): DistributionEndpoint | undefined {
  const kind = ({ GET: "readBlob", HEAD: "statBlob", DELETE: "deleteBlob" } as const)[method];
  return kind === undefined ? undefined : { kind, repository, digest: demandDigest(text) };
}

function parseManifestEndpoint(method: string, repository: Repository, text: string): DistributionEndpoint | undefined {
  const kind = ({ GET: "readManifest", HEAD: "resolveManifest", PUT: "writeManifest", DELETE: "deleteManifest" } as const)[method];
  if (kind === undefined) return undefined;
  try {
    return { kind, repository, reference: parseManifestReference(text) };
  } catch (cause) {
    const code = text.includes(":") ? "DIGEST_INVALID" : kind === "writeManifest" ? "MANIFEST_INVALID" : "MANIFEST_UNKNOWN";
    throw new DistributionError(code, { reference: text.slice(0, 160) }, { cause });
  }
}

function parseTags(method: string, repository: Repository): DistributionEndpoint | undefined {
  return method === "GET" ? { kind: "listTags", repository } : undefined;
}

function parseReferrers(method: string, repository: Repository, text: string): DistributionEndpoint | undefined {
  return method === "GET" ? { kind: "listReferrers", repository, digest: demandDigest(text) } : undefined;
}

function demandDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new DistributionError("DIGEST_INVALID", { digest: text.slice(0, 160), expected: "sha256:<64 hex> or sha512:<128 hex>" });
}

const isRead = (method: string): boolean => method === "GET" || method === "HEAD";

function demand(endpoint: DistributionEndpoint | undefined, method: string): DistributionEndpoint {
  if (endpoint === undefined) throw new DistributionError("UNSUPPORTED", { method });
  return endpoint;
}

/** Some clients send a digest's colon as `%3A`; names are never decoded. What cannot be decoded fails to parse after. */
function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
