import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { HostFacts, ImageFact } from "../../../mirror/prune/facts.ts";
import { type PlanInput, planPrune } from "../../../mirror/prune/plan.ts";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";

const surveyedAtMs = 1_000_000;
const hour = 3_600_000;
const host = "registry.test";
const runA = "run-aaaaaaaaaaaa-1";
const runB = "run-bbbbbbbbbbbb-1";

function image(tag: string, content = tag, more: Partial<ImageFact> = {}): ImageFact {
  const repository = parseRepository("acme/web");
  const origin = tag.startsWith("run-") ? "run" : "pushed";
  const changedAtMs = surveyedAtMs - 10 * hour;
  return {
    org: "acme",
    name: `${host}/${repository}:${tag}`,
    repository,
    tag,
    digest: digestOf(content),
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    sizeBytes: 1,
    origin,
    changedAtMs,
    usedAtMs: changedAtMs,
    ...more,
  };
}

const nobody: Omit<HostFacts, "images"> = { others: [], machines: [], pins: [], leased: [], openPushes: [] };
const noClaims: PlanInput["claims"] = { releases: [], openRunTags: [], replicating: [] };
const policy = { keepForMs: hour, keepUnusedForMs: 24 * hour };

function planned(images: readonly ImageFact[], over: Partial<PlanInput> & { readonly held?: Partial<HostFacts> } = {}) {
  const { held, ...rest } = over;
  const plan = planPrune({ host: { ...nobody, images, ...held }, claims: noClaims, upstream: new Set(), policy, surveyedAtMs, ...rest });
  return {
    removed: plan.remove.map((removal) => [removal.image.tag ?? removal.image.name, removal.reason]),
    kept: plan.keep.map(({ name, reason }) => [name.slice(name.lastIndexOf(":") + 1), reason]),
  };
}

const released = (version: number, live: boolean, { name, digest }: ImageFact) => ({
  org: "acme",
  app: "web",
  version,
  live,
  image: { name, digest },
});

describe("the plan of a prune", () => {
  it("removes what a run pushed and no release, run, machine or replication needs", () => {
    expect(planned([image(runA)])).toEqual({ removed: [[runA, "no release"]], kept: [] });
  });

  it("keeps the image of a container, under the name that it has there", () => {
    const held = { machines: [{ ...image(runA) }] };
    expect(planned([image(runA), image(runB)], { held })).toEqual({ removed: [[runB, "no release"]], kept: [[runA, "machine"]] });
  });

  it("keeps the live release and the retained ones", () => {
    const releases = [released(2, true, image(runA)), released(1, false, image(runB))];
    expect(planned([image(runA), image(runB)], { claims: { ...noClaims, releases } }).kept).toEqual([
      [runA, "live release"],
      [runB, "retained release"],
    ]);
  });

  it("removes further names of a release's digest, but not when its own name is gone", () => {
    const [own, again] = [image(runA, "same"), image(runB, "same")];
    const claims = { ...noClaims, releases: [released(1, true, own)] };
    expect(planned([own, again], { claims })).toEqual({ removed: [[runB, "no release"]], kept: [[runA, "live release"]] });
    expect(planned([again], { claims })).toEqual({ removed: [], kept: [[runB, "live release"]] });
  });

  it("keeps every attempt's image of an open run", () => {
    const claims = { ...noClaims, openRunTags: ["run-aaaaaaaaaaaa-"] };
    expect(planned([image(runA), image("run-aaaaaaaaaaaa-2"), image(runB)], { claims }).removed).toEqual([[runB, "no release"]]);
  });

  it("keeps what is on its way to upstream, pinned or not pinned yet", () => {
    const { repository, digest } = image(runB);
    const claims = { ...noClaims, replicating: [{ repository, digest }] };
    expect(planned([image(runA), image(runB)], { claims, held: { pins: [{ org: "acme", digest: digestOf(runA) }] } }).kept).toEqual([
      [runA, "replication"],
      [runB, "replication"],
    ]);
  });

  it("keeps what a push or a starting machine has leased, and children of an index that is being pushed", () => {
    const { tag: _tag, ...child } = image("v1", "child", { name: `${host}/acme/web@${digestOf("child")}` });
    const held = { leased: [{ org: "acme", digest: digestOf(runA) }], openPushes: [{ org: "acme", repository: "acme/web" }] };
    const upstream = new Set([child.name]);
    expect(planned([image(runA), child], { held, upstream }).kept.map(([, reason]) => reason)).toEqual(["in use", "in use"]);
    expect(planned([child], { upstream }).removed).toEqual([[child.name, "upstream has it"]]);
  });

  it("keeps what somebody pushed under a name of his own until upstream has it", () => {
    expect(planned([image("v1")])).toEqual({ removed: [], kept: [["v1", "not upstream"]] });
    expect(planned([image("v1")], { upstream: new Set([image("v1").name]) }).removed).toEqual([["v1", "upstream has it"]]);
  });

  it("keeps what is younger than the policy says, and whatever changed after the survey", () => {
    const young = image(runA, runA, { changedAtMs: surveyedAtMs - hour + 1 });
    expect(planned([young]).kept).toEqual([[runA, "recent"]]);
    const changed = image(runA, runA, { changedAtMs: surveyedAtMs });
    expect(planned([changed], { policy: { keepForMs: 0, keepUnusedForMs: 0 } }).kept).toEqual([[runA, "recent"]]);
  });

  it("keeps fetched images for longer, and counts from their last use", () => {
    const fetched = (usedHoursAgo: number) =>
      image("12", "debian", { origin: "fetched", changedAtMs: surveyedAtMs - 100 * hour, usedAtMs: surveyedAtMs - usedHoursAgo * hour });
    expect(planned([fetched(23)]).kept).toEqual([["12", "recent"]]);
    expect(planned([fetched(25)]).removed).toEqual([["12", "unused"]]);
  });

  it("keeps as long what lost its tag, and then takes it whether or not upstream has it", () => {
    const at = (hoursAgo: number) => ({ changedAtMs: surveyedAtMs - hoursAgo * hour, usedAtMs: surveyedAtMs - hoursAgo * hour });
    const untagged = (hoursAgo: number) => image("v1", "v1", { origin: "untagged", ...at(hoursAgo) });
    expect(planned([untagged(23)]).kept).toEqual([["v1", "recent"]]);
    expect(planned([untagged(25)]).removed).toEqual([["v1", "no tag"]]);
  });
});

describe("whatever there is", () => {
  const tags = ["run-000000000000-1", "run-000000000000-2", "run-111111111111-1", "v1", "v2"];
  const contents = ["a", "b", "c"];
  const orgs = ["acme", "other"];
  const anImage = fc
    .record({
      org: fc.constantFrom(...orgs),
      tag: fc.constantFrom(...tags),
      content: fc.constantFrom(...contents),
      ageMs: fc.constantFrom(-1, 0, 1, hour - 1, hour, 2 * hour, 30 * hour),
      origin: fc.constantFrom("run", "pushed", "fetched" as const),
    })
    .map(({ org, tag, content, ageMs, origin }) => {
      const repository = parseRepository(`${org}/web`);
      const times = { changedAtMs: surveyedAtMs - ageMs, usedAtMs: surveyedAtMs - ageMs };
      return image(tag, content, { org, repository, name: `${host}/${repository}:${tag}`, origin, ...times } as Partial<ImageFact>);
    });
  const images = fc.uniqueArray(anImage, { selector: ({ name }) => name, maxLength: 8 });
  const holder = fc.record(
    {
      org: fc.constantFrom(...orgs),
      digest: fc.constantFrom(...contents.map((content) => digestOf(content))),
      name: fc.constantFrom(...tags),
    },
    { requiredKeys: ["org", "digest"] },
  );
  const holders = fc
    .array(holder, { maxLength: 3 })
    .map((all) => all.map((each) => (each.name === undefined ? each : { ...each, name: `${host}/${each.org}/web:${each.name}` })));
  const input = fc.record({
    images,
    machines: holders,
    pins: holders,
    leased: holders,
    releases: holders,
    replicating: holders,
    openRunTags: fc.subarray(["run-000000000000-", "run-111111111111-"]),
    upstream: fc.subarray(orgs.flatMap((org) => tags.map((tag) => `${host}/${org}/web:${tag}`))),
  });

  it("each image is removed or kept, and one of every held digest that was there is kept", () => {
    fc.assert(
      fc.property(input, ({ images: all, machines, pins, leased, releases, replicating, openRunTags, upstream }) => {
        const claims: PlanInput["claims"] = {
          releases: releases.map(({ org, digest, name }, index) => ({
            org,
            app: "web",
            version: index,
            live: index === 0,
            image: { digest, name: name ?? "gone" },
          })),
          replicating: replicating.map(({ org, digest }) => ({ repository: parseRepository(`${org}/web`), digest })),
          openRunTags,
        };
        const facts = { ...nobody, images: all, machines, pins, leased };
        const { remove, keep } = planPrune({ host: facts, claims, upstream: new Set(upstream), policy, surveyedAtMs });
        const gone = new Set(remove.map(({ image: { name } }) => name));

        expect([...gone, ...keep.map(({ name }) => name)].sort()).toEqual(all.map(({ name }) => name).sort());
        const kept = all.filter(({ name }) => !gone.has(name));
        for (const { org, digest, name } of [...machines, ...pins, ...leased, ...releases, ...replicating]) {
          const matches = (candidates: readonly ImageFact[]) => candidates.filter((each) => each.org === org && each.digest === digest);
          if (matches(all).length > 0) expect(matches(kept)).not.toEqual([]);
          if (matches(all).some((each) => each.name === name)) expect(kept.map((each) => each.name)).toContain(name);
        }
        for (const { image: each } of remove) {
          expect(each.changedAtMs).toBeLessThan(surveyedAtMs - policy.keepForMs);
          expect(openRunTags.some((prefix) => each.tag!.startsWith(prefix))).toBe(false);
          if (each.origin === "pushed") expect(upstream).toContain(each.name);
        }
      }),
      { numRuns: 500 },
    );
  });
});
