import { orgNamespace } from "../../config/paths.ts";
import type { Containerd } from "../../containerd/client.ts";
import { collectGarbage } from "../../containerd/collect-garbage.ts";
import { containerdDisk } from "../../containerd/disk.ts";
import type { ImageClaims, ImageVerdict, KeepReason, PruneHostInput, PruneReport } from "../../workflows/prune-types.ts";
import { abortIngests, findAbandonedIngests } from "./abandoned-ingests.ts";
import type { HostFacts } from "./facts.ts";
import { type OrgGraph, freedBytes, readOrgGraph } from "./freed-bytes.ts";
import { joinFacts, readOrgImages } from "./org-images.ts";
import { type PlanInput, type PlannedRemoval, type PrunePlan, planPrune } from "./plan.ts";
import { isLow, policyFor } from "./policy.ts";
import { removeImages } from "./remove-images.ts";
import { type ManifestLookup, namesUpstream } from "./upstream-has.ts";

export type PruneDeps = {
  readonly containerd: Containerd;
  readonly snapshotter: string;
  /** host part of the names of images that were pushed here */
  readonly imageHost: string;
  readonly upstream: ManifestLookup;
};

export type PrunePass = PruneHostInput & {
  /** orgs of this instance on this host: no other's namespace is looked into */
  readonly orgs: readonly string[];
  readonly claims: ImageClaims;
  /** before the claims were asked for, by this host's clock */
  readonly surveyedAtMs: number;
};

const shownVerdicts = 200;

/**
 * Removes images of this host that nobody needs any more, or tells which they are. A pass that breaks off leaves every image whole: it is
 * a record that goes, and containerd takes what no record and no lease holds.
 */
export async function pruneHost(
  deps: PruneDeps,
  pass: PrunePass,
  report: (details: object) => void,
  signal: AbortSignal,
): Promise<PruneReport> {
  const { containerd } = deps;
  const { host, dryRun } = pass;
  const disk = await containerdDisk(containerd, deps.snapshotter, signal);
  const orgs = await withNamespace(containerd, pass.orgs, signal);
  const namespaceOf = (org: string) => containerd.namespace(orgNamespace(org));

  report({ step: "reading", orgs: orgs.length });
  const facts = await readImages(deps, orgs, signal);
  const planned = await askUpstream(deps, pass, facts, policyFor(disk, pass.policy), signal);
  const plan = planPrune(planned);
  const graphs = await readGraphs(deps, orgs, signal);
  const ingests = await findIngests(containerd, orgs, signal);

  // what the records held becomes free, in all namespaces, with what dead writers' leases held until they expired
  const collect = () => (orgs[0] === undefined ? Promise.resolve() : collectGarbage(namespaceOf(orgs[0]), signal));
  const onRemoved = (removed: number) => report({ step: "removing", removed, of: plan.remove.length });
  const removed = dryRun
    ? plan.remove
    : await removeImages(plan.remove, { namespaceOf, imageHost: deps.imageHost, planned, collect, onRemoved }, signal);
  if (!dryRun) {
    for (const [org, refs] of ingests) await abortIngests(namespaceOf(org), refs, signal);
    await collect();
  }
  const bytes = freedBytes(
    graphs,
    removed.map(({ image }) => image),
    keptTargets(facts, removed),
  );
  const keep = [...plan.keep, ...changed(plan, removed)];
  return {
    host,
    dryRun,
    freeBytes: disk.freeBytes,
    lowDisk: isLow(disk, pass.policy),
    removed: removed.length,
    kept: keep.length,
    freedBytes: bytes.reduce((sum, each) => sum + each, 0),
    abortedIngests: [...ingests.values()].flat().length,
    removals: removed.slice(0, shownVerdicts).map(({ image, reason }, index) => ({ ...verdict(image, reason), freedBytes: bytes[index]! })),
    keeps: keep.slice(0, shownVerdicts),
  };
}

/** Those orgs that have something on this host. */
export async function withNamespace(containerd: Containerd, orgs: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
  const { namespaces } = await containerd.namespaces.list({}, { signal });
  const names = new Set(namespaces.map(({ name }) => name));
  return orgs.filter((org) => names.has(orgNamespace(org)));
}

export async function readImages({ containerd, imageHost }: PruneDeps, orgs: readonly string[], signal: AbortSignal): Promise<HostFacts> {
  const facts: HostFacts[] = [];
  for (const org of orgs) facts.push(await readOrgImages(containerd.namespace(orgNamespace(org)), { org, imageHost }, signal));
  return joinFacts(facts);
}

/** Upstream is asked about those alone that would go if it had them. */
async function askUpstream(
  { upstream }: PruneDeps,
  { claims, surveyedAtMs }: PrunePass,
  host: HostFacts,
  policy: PlanInput["policy"],
  signal: AbortSignal,
): Promise<PlanInput> {
  const everything = new Set(host.images.map(({ name }) => name));
  const input = { host, claims, policy, surveyedAtMs };
  const candidates = planPrune({ ...input, upstream: everything }).remove.map(({ image }) => image);
  const pushed = candidates.filter(({ origin }) => origin === "pushed");
  return { ...input, upstream: await namesUpstream(pushed, upstream, signal) };
}

async function readGraphs(
  { containerd, snapshotter }: PruneDeps,
  orgs: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, OrgGraph>> {
  const graphs = new Map<string, OrgGraph>();
  for (const org of orgs) graphs.set(org, await readOrgGraph(containerd.namespace(orgNamespace(org)), snapshotter, signal));
  return graphs;
}

async function findIngests(containerd: Containerd, orgs: readonly string[], signal: AbortSignal): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const org of orgs) found.set(org, await findAbandonedIngests(containerd.namespace(orgNamespace(org)), Date.now(), signal));
  return found;
}

function keptTargets({ images, others }: HostFacts, removed: readonly PlannedRemoval[]) {
  const gone = new Set(removed.map(({ image }) => image));
  return [...others, ...images.filter((image) => !gone.has(image))];
}

function changed({ remove }: PrunePlan, removed: readonly PlannedRemoval[]): ImageVerdict<KeepReason>[] {
  const gone = new Set(removed.map(({ image }) => image));
  return remove.filter(({ image }) => !gone.has(image)).map(({ image }) => verdict(image, "changed"));
}

function verdict<R extends string>({ org, name, digest }: PlannedRemoval["image"], reason: R): ImageVerdict<R> {
  return { org, name, digest, reason };
}
