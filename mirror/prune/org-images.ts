import type { Digest } from "../../oci/digest.ts";
import { isDigest } from "../../oci/digest.ts";
import { isRepository, isTag } from "../../oci/repository.ts";
import type { ContainerdNamespace } from "../../containerd/client.ts";
import { type StoredImageRecord, listImages } from "../../containerd/images.ts";
import { leaseResources, listLeases } from "../../containerd/leases.ts";
import { pinPrefix } from "../images/host-images.ts";
import { isRunTag } from "../images/run-tag.ts";
import { supersededLabel } from "../store/org-repository.ts";
import { pushLeasePrefix } from "../store/push-sessions.ts";
import { lastUseOfFetched } from "../pull/fetched-record.ts";
import type { HostFacts, ImageFact, ImageHolder } from "./facts.ts";

/** What one org's namespace says about its images and who holds them. */
export async function readOrgImages(ns: ContainerdNamespace, { org, imageHost }: OrgOnHost, signal: AbortSignal): Promise<HostFacts> {
  const records = await listImages(ns, [], signal);
  const holders = await readHolders(ns, org, signal);
  const images: ImageFact[] = [];
  const others: ImageHolder[] = [];
  for (const record of records) {
    const fact = imageFact(record, org, imageHost);
    if (fact === undefined) others.push({ org, name: record.name, digest: record.target.digest });
    else images.push(fact);
  }
  return { images, others, ...holders };
}

export type OrgOnHost = { readonly org: string; readonly imageHost: string };

async function readHolders(ns: ContainerdNamespace, org: string, signal: AbortSignal): Promise<Omit<HostFacts, "images" | "others">> {
  const [{ containers }, leases] = await Promise.all([ns.containers.list({}, { signal }), listLeases(ns, signal)]);
  const machines = containers.flatMap(({ image: name, labels }) =>
    Object.entries(labels)
      .filter(([key, value]) => key.startsWith("containerd.io/gc.ref.content") && isDigest(value))
      .map(([, digest]) => ({ org, name, digest: digest as Digest })),
  );
  const pins: ImageHolder[] = [];
  const leased: ImageHolder[] = [];
  const openPushes: { org: string; repository: string }[] = [];
  for (const { id, labels } of leases) {
    const repository = labels["slipway.repository"];
    if (id.startsWith(pushLeasePrefix) && repository !== undefined) openPushes.push({ org, repository });
    // there may be many while upstream is away: the label says what the lease holds
    const pinned = labels["slipway.digest"] ?? "";
    if (id.startsWith(pinPrefix) && isDigest(pinned)) {
      pins.push({ org, digest: pinned });
      continue;
    }
    // a lease that went meanwhile holds nothing
    for (const resource of (await leaseResources(ns, id, signal)) ?? []) {
      if (resource.type === "content" && isDigest(resource.id)) leased.push({ org, digest: resource.id });
    }
  }
  return { machines, pins, leased, openPushes };
}

/** Undefined for a record that is nobody's push and was not fetched: a builder's, or a stranger's. */
function imageFact({ name, target, labels, changedAtMs }: StoredImageRecord, org: string, imageHost: string): ImageFact | undefined {
  const fact = {
    org,
    name,
    digest: target.digest,
    mediaType: target.mediaType,
    sizeBytes: target.size,
    changedAtMs,
    usedAtMs: changedAtMs,
  };
  const parts = splitName(name);
  if (parts === undefined) return undefined;
  const { host, repository, tag } = parts;
  const lastUseMs = lastUseOfFetched(labels);
  if (!isRepository(repository)) return undefined;
  if (lastUseMs !== undefined) return { ...fact, repository, origin: "fetched", usedAtMs: lastUseMs };
  if (host !== imageHost || !repository.startsWith(`${org}/`)) return undefined;
  const formerTag = labels[supersededLabel] ?? "";
  if (tag === undefined && formerTag !== "") return { ...fact, repository, origin: isRunTag(formerTag) ? "run" : "untagged" };
  if (tag === undefined) return { ...fact, repository, origin: "pushed" };
  return { ...fact, repository, tag, origin: isRunTag(tag) ? "run" : "pushed" };
}

/** `host/repository:tag` or `host/repository@digest`. */
function splitName(name: string): { readonly host: string; readonly repository: string; readonly tag?: string } | undefined {
  const slash = name.indexOf("/");
  const [host, rest] = [name.slice(0, slash), name.slice(slash + 1)];
  const at = rest.indexOf("@");
  if (at !== -1) return { host, repository: rest.slice(0, at) };
  const colon = rest.lastIndexOf(":");
  const tag = rest.slice(colon + 1);
  return slash === -1 || colon === -1 || !isTag(tag) ? undefined : { host, repository: rest.slice(0, colon), tag };
}

export function joinFacts(facts: readonly HostFacts[]): HostFacts {
  return {
    images: facts.flatMap(({ images }) => images),
    others: facts.flatMap(({ others }) => others),
    machines: facts.flatMap(({ machines }) => machines),
    pins: facts.flatMap(({ pins }) => pins),
    leased: facts.flatMap(({ leased }) => leased),
    openPushes: facts.flatMap(({ openPushes }) => openPushes),
  };
}
