import { type RegistryAction, requiredAccess } from "../../oci/access.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";
import type { DistributionTarget } from "../../oci/routes/distribution-call.ts";
import { repositoryOf } from "./build-tokens.ts";
import type { Caller } from "./callers.ts";

/** What a request wants, as far as access is concerned. */
export type Want =
  /** the API itself, for which any right credential is enough */
  | { readonly kind: "ping" }
  /** an image of another registry, by `?ns=` */
  | { readonly kind: "foreign"; readonly isRead: boolean }
  /** `blob`: when a blob is read and nothing else is done */
  | { readonly kind: "own"; readonly repository: Repository; readonly action: RegistryAction; readonly blob?: Digest };

export type Verdict = "allowed" | "denied" | "unsupported";

export function wantOf(method: string, target: DistributionTarget | null, imageHost: string): Want {
  const needed = target === null ? undefined : requiredAccess(method, target.endpoint);
  if (target === null || needed === undefined) return { kind: "ping" };
  if (target.ns !== undefined && target.ns !== imageHost) return { kind: "foreign", isRead: needed.action === "pull" };
  const { endpoint } = target;
  const readsBlob = endpoint.kind === "readBlob" || endpoint.kind === "statBlob";
  return { kind: "own", ...needed, ...(readsBlob ? { blob: endpoint.digest } : {}) };
}

/** Whom a login must be asked about, to know what it may do here; undefined: only whether it is right. */
export function aboutOf(org: string, want: Want): Repository | undefined {
  if (want.kind === "foreign") return anyOf(org);
  return want.kind === "own" && isWithin(org, want.repository) ? want.repository : undefined;
}

/**
 * Whether the caller gets what he wants on this org's socket. Told by names alone, never by what is there: a refusal says nothing about
 * what exists.
 */
export async function judge(org: string, caller: Caller, want: Want): Promise<Verdict> {
  if (want.kind === "ping") return "allowed";
  if (want.kind === "foreign" && !want.isRead) return "unsupported";
  if (caller.kind === "operator") return "allowed";
  if (caller.kind === "build") return judgeBuild(caller, want);
  const about = aboutOf(org, want);
  const action = want.kind === "own" ? want.action : "pull";
  return verdict(about !== undefined && (await caller.actions(about)).includes(action));
}

/** Whether the caller may take a blob from this repository into another one. */
export async function mayMount(org: string, caller: Caller, from: Repository): Promise<boolean> {
  return (await judge(org, caller, { kind: "own", repository: from, action: "pull" })) === "allowed";
}

/** No builder deletes, in whatever repository. */
function judgeBuild({ scope }: Caller & { kind: "build" }, want: Exclude<Want, { kind: "ping" }>): Verdict {
  if (want.kind === "foreign") return verdict(scope.blob === undefined);
  if (want.action === "delete") return "unsupported";
  const isOwn = want.repository === repositoryOf(scope);
  if (scope.blob === undefined) return verdict(isOwn);
  return verdict(isOwn && want.blob !== undefined && [scope.blob].flat().includes(want.blob));
}

const verdict = (isAllowed: boolean): Verdict => (isAllowed ? "allowed" : "denied");

const isWithin = (org: string, repository: Repository): boolean => repository.startsWith(`${org}/`);

/** Images of other registries are the whole org's: asked for with a login that is good for one app, they are denied. */
const anyOf = (org: string): Repository => `${org}/images-of-other-registries` as Repository;
