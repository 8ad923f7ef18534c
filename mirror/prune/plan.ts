import type { ImageClaims, ImageVerdict, KeepReason, PrunePolicy, RemoveReason } from "../../workflows/prune-types.ts";
import type { HostFacts, ImageFact, ImageHolder } from "./facts.ts";

export type PlanInput = {
  readonly host: HostFacts;
  readonly claims: ImageClaims;
  /** names of images that upstream has, each with the digest it has here */
  readonly upstream: ReadonlySet<string>;
  readonly policy: Pick<PrunePolicy, "keepForMs" | "keepUnusedForMs">;
  /** before the claims were asked for, by the host's clock */
  readonly surveyedAtMs: number;
};

export type PlannedRemoval = { readonly image: ImageFact; readonly reason: RemoveReason };
export type PrunePlan = { readonly remove: readonly PlannedRemoval[]; readonly keep: readonly ImageVerdict<KeepReason>[] };

const keyOf = ({ org, digest }: Pick<ImageFact, "org" | "digest">): string => `${org} ${digest}`;

/**
 * What of a host's images may go, and why the others stay. A record that changed after the survey is never removed: the claims may be
 * older than it.
 */
export function planPrune(input: PlanInput): PrunePlan {
  const reasonToKeep = keeper(input);
  const remove: PlannedRemoval[] = [];
  const keep: ImageVerdict<KeepReason>[] = [];
  for (const image of input.host.images) {
    const reason = reasonToKeep(image);
    if (reason === undefined) remove.push({ image, reason: removeReasons[image.origin] });
    else keep.push({ org: image.org, name: image.name, digest: image.digest, reason });
  }
  return { remove, keep };
}

const removeReasons = { run: "no release", pushed: "upstream has it", untagged: "no tag", fetched: "unused" } as const;

function keeper({ host, claims, upstream, policy, surveyedAtMs }: PlanInput): (image: ImageFact) => KeepReason | undefined {
  const releases = (live: boolean) =>
    claims.releases.filter((release) => release.live === live).map(({ org, image }) => ({ org, ...image }));
  const replicating = claims.replicating.map(({ repository, digest }) => ({ org: repository.split("/")[0]!, digest }));
  const held: readonly (readonly [KeepReason, (image: ImageFact) => boolean])[] = [
    ["machine", heldBy(host.machines, host.images)],
    ["live release", heldBy(releases(true), host.images)],
    ["retained release", heldBy(releases(false), host.images)],
    ["run", ({ tag }) => tag !== undefined && claims.openRunTags.some((prefix) => tag.startsWith(prefix))],
    ["replication", heldBy([...host.pins, ...replicating], host.images)],
    ["in use", heldBy(host.leased, host.images)],
    [
      "in use",
      ({ org, repository, tag }) => tag === undefined && host.openPushes.some((push) => push.org === org && push.repository === repository),
    ],
    ["recent", (image) => isRecent(image, policy, surveyedAtMs)],
    ["not upstream", (image) => image.origin === "pushed" && !upstream.has(image.name)],
  ];
  return (image) => held.find(([, holds]) => holds(image))?.[0];
}

/** One record is enough for a holder: the one it names, or else all of its digest. */
function heldBy(holders: readonly ImageHolder[], images: readonly ImageFact[]): (image: ImageFact) => boolean {
  const there = new Set(images.map(nameKeyOf));
  const names = new Set<string>();
  const digests = new Set<string>();
  for (const { org, digest, name } of holders) {
    const named = name === undefined ? undefined : nameKeyOf({ org, name, digest });
    if (named !== undefined && there.has(named)) names.add(named);
    else digests.add(keyOf({ org, digest }));
  }
  return (image) => names.has(nameKeyOf(image)) || digests.has(keyOf(image));
}

const nameKeyOf = ({ org, name, digest }: Pick<ImageFact, "org" | "name" | "digest">): string => `${org} ${name} ${digest}`;

function isRecent({ origin, changedAtMs, usedAtMs }: ImageFact, policy: PlanInput["policy"], surveyedAtMs: number): boolean {
  const keptForMs = origin === "fetched" || origin === "untagged" ? Math.max(policy.keepForMs, policy.keepUnusedForMs) : policy.keepForMs;
  return Math.max(changedAtMs, usedAtMs) + keptForMs >= surveyedAtMs;
}
