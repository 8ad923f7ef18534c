import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chainIds } from "../../../containerd/chain-id.ts";
import { statBlob } from "../../../containerd/content.ts";
import { getImage, listImages, putImage } from "../../../containerd/images.ts";
import { createLease, deleteLease, listLeases } from "../../../containerd/leases.ts";
import { prepareSnapshot, statSnapshot } from "../../../containerd/snapshots.ts";
import { runTag, runTagPrefix } from "../../../mirror/images/run-tag.ts";
import { abortIngests, findAbandonedIngests } from "../../../mirror/prune/abandoned-ingests.ts";
import { pruneHost } from "../../../mirror/prune/prune-host.ts";
import type { ManifestLookup } from "../../../mirror/prune/upstream-has.ts";
import { surveyImages } from "../../../mirror/prune/survey.ts";
import { fetchedLabels } from "../../../mirror/pull/fetched-record.ts";
import type { Digest } from "../../../oci/digest.ts";
import { createDistributionClient } from "../../../oci/distribution-client.ts";
import type { ImageClaims, PrunePolicy, PruneReport } from "../../../workflows/prune-types.ts";
import { WriteAction } from "../../../proto/gen/services/content/v1/content_pb.ts";
import { eventually } from "../../support/eventually.ts";
import { type MirrorHarness, type MirroredOrg, imageHost, openMirrorHarness, orgName, pushImage } from "../../support/mirror-harness.ts";
import { type OwnContainerd, startContainerd } from "../../support/own-containerd.ts";
import { type TestImage, imageOf } from "../../support/test-image.ts";

const signal = AbortSignal.timeout(300_000);
const now: PrunePolicy = { keepReleases: 1, keepForMs: 0, keepUnusedForMs: 0, lowDiskBytes: 0 };

/** What a control plane would say. */
type Claims = { -readonly [Key in keyof ImageClaims]: ImageClaims[Key][number][] };

describe("pruning the images of a host", () => {
  const stack = new AsyncDisposableStack();
  const name = orgName("prune");
  let daemon: OwnContainerd;
  let above: MirroredOrg;
  let mirror: MirrorHarness;
  let org: MirroredOrg;
  let claims: Claims;

  beforeAll(async () => {
    daemon = stack.use(await startContainerd());
    // a registry is a registry: upstream is a mirror over another containerd
    const upstream = stack.use(await openMirrorHarness({ upstreamUrl: "none" }));
    above = await upstream.org(name);
    mirror = stack.use(await openMirrorHarness({ containerdSocket: daemon.socket, upstreamUrl: "none" }));
    org = await mirror.org(name);
  });
  afterAll(async () => {
    const { containers } = await org.scratch.ns.containers.list({}, { signal });
    for (const { id } of containers) await org.scratch.ns.containers.delete({ id }, { signal });
    await stack.disposeAsync();
  });

  const deps = () => ({ containerd: org.scratch.containerd, snapshotter: "overlayfs", imageHost, upstream: above.client });

  /** As the workflow does it: first the survey, then the claims. */
  async function prune(
    over: Partial<{ dryRun: boolean; policy: PrunePolicy; onReport: (details: object) => void }> = {},
  ): Promise<PruneReport> {
    const { surveyedAtMs } = await surveyImages(deps(), [name], signal);
    const pass = {
      host: "test",
      dryRun: over.dryRun ?? false,
      policy: over.policy ?? now,
      orgs: [name, "absent"],
      claims: structuredClone(claims),
    };
    // what was pushed within the survey's millisecond is as young as can be
    return pruneHost(deps(), { ...pass, surveyedAtMs: surveyedAtMs + 1 }, over.onReport ?? (() => undefined), signal);
  }

  const nameOf = (app: string, tag: string) => `${imageHost}/${name}/${app}:${tag}`;
  const shown = (report: PruneReport) =>
    Object.fromEntries([...report.removals, ...report.keeps].map((each) => [each.name.slice(each.name.lastIndexOf("/") + 1), each.reason]));
  const isThere = async (digest: Digest) => (await statBlob(org.scratch.ns, digest, signal)) !== undefined;
  const verify = (app: string, tag: string) => mirror.images.verify({ org: name, repository: org.repository(app), tag }, signal);
  const release = (app: string, version: number, tag: string, digest: Digest, live: boolean) =>
    claims.releases.push({ org: name, app, version, live, image: { name: nameOf(app, tag), digest } });

  const base = { "etc/base": randomUUID() };
  const someImage = (): Promise<TestImage> => imageOf([base, { own: randomUUID() }]);

  async function pushed(app: string, tag: string, image?: TestImage): Promise<TestImage> {
    const some = image ?? (await someImage());
    await pushImage(org.client, org.repository(app), tag, some);
    return some;
  }

  /** The record alone, as of a machine that is stopped. */
  async function container(id: string, image: string, digest: Digest): Promise<void> {
    const labels = { "containerd.io/gc.ref.content.image": digest };
    await org.scratch.ns.containers.create({ container: { id, image, labels, runtime: { name: "io.containerd.runc.v2" } } }, { signal });
  }

  it("takes what nobody needs with its content and snapshots, leaves all else startable, and a dry run tells it before", async () => {
    claims = { releases: [], openRunTags: [runTagPrefix("open")], replicating: [] };
    const all = {
      live: await pushed("web", runTag("live", 1)),
      retained: await pushed("web", runTag("retained", 1)),
      machine: await pushed("web", runTag("machine", 1)),
      pinned: await pushed("web", runTag("pinned", 1)),
      open: await pushed("web", runTag("open", 2)),
      own: await pushed("web", "v1"),
      replicated: await pushed("web", "v2"),
      failed: await pushed("web", runTag("failed", 1)),
    };
    const digestOfImage = (key: keyof typeof all) => all[key].manifest.descriptor.digest;
    release("web", 2, runTag("live", 1), digestOfImage("live"), true);
    release("web", 1, runTag("retained", 1), digestOfImage("retained"), false);
    await container("machine", nameOf("web", runTag("machine", 1)), digestOfImage("machine"));
    await mirror.images.pin(name, org.repository("web"), digestOfImage("pinned"), signal);
    await pushImage(above.client, above.repository("web"), "v2", all.replicated);
    const builder = await getImage(org.scratch.ns, nameOf("web", "v1"), signal);
    await putImage(org.scratch.ns, { name: "builder.slipway.invalid/builder:1", target: builder!.target, labels: {} }, signal);
    const fetched = await someImage();
    await pushed("base", "12", fetched);
    const old = fetchedLabels("docker.io", Date.now() - 10_000);
    await putImage(org.scratch.ns, { name: nameOf("base", "12"), target: fetched.manifest.descriptor, labels: old }, signal);

    const before = await listImages(org.scratch.ns, [], signal);
    const expected = {
      [`web:${runTag("live", 1)}`]: "live release",
      [`web:${runTag("retained", 1)}`]: "retained release",
      [`web:${runTag("machine", 1)}`]: "machine",
      [`web:${runTag("pinned", 1)}`]: "replication",
      [`web:${runTag("open", 2)}`]: "run",
      "web:v1": "not upstream",
      "web:v2": "upstream has it",
      [`web:${runTag("failed", 1)}`]: "no release",
      "base:12": "unused",
    };
    const dry = await prune({ dryRun: true });
    expect(shown(dry)).toEqual(expected);
    expect(await listImages(org.scratch.ns, [], signal)).toEqual(before);

    const done = await prune();
    expect(shown(done)).toEqual(expected);
    expect({ ...done, dryRun: true, freeBytes: 0 }).toEqual({ ...dry, freeBytes: 0 });
    // each of the three frees its own layer, config, manifest and top snapshot; the base stays
    const own = (image: TestImage) =>
      [image.manifest, image.config, image.layers[1]!].reduce((sum, { descriptor }) => sum + descriptor.size, 0);
    expect(done.freedBytes).toBeGreaterThanOrEqual(own(all.replicated) + own(all.failed) + own(fetched));
    expect(await isThere(all.live.layers[0]!.descriptor.digest)).toBe(true);
    for (const gone of [all.replicated, all.failed, fetched]) {
      expect(await isThere(gone.manifest.descriptor.digest)).toBe(false);
      expect(await isThere(gone.layers[1]!.descriptor.digest)).toBe(false);
      expect(await statSnapshot(org.scratch.ns, "overlayfs", chainIds(gone.diffIds).at(-1)!, signal)).toBeUndefined();
    }
    for (const tag of [runTag("live", 1), runTag("retained", 1), runTag("machine", 1), runTag("pinned", 1), runTag("open", 2), "v1"]) {
      await verify("web", tag);
    }
    expect(await getImage(org.scratch.ns, "builder.slipway.invalid/builder:1", signal)).toBeDefined();
    await mirror.images.unpin(name, org.repository("web"), digestOfImage("pinned"), signal);
    expect(shown(await prune())).toMatchObject({ [`web:${runTag("pinned", 1)}`]: "no release" });
  });

  it("removes no record that moved, and none that was taken into use, between plan and removal", async () => {
    claims = { releases: [], openRunTags: [], replicating: [] };
    await pushed("raced", runTag("moves", 1));
    const used = await pushed("raced", runTag("used", 1));
    await pushed("raced", runTag("goes", 1));
    const next = await someImage();
    const { surveyedAtMs } = await surveyImages(deps(), [name], signal);
    // upstream is asked after the plan's facts are read: what happens meanwhile is in none of them
    await pushed("raced", "v3");
    const upstream: ManifestLookup = {
      async resolveManifest(...question) {
        await pushImage(org.client, org.repository("raced"), runTag("moves", 1), next);
        await container("raced", nameOf("raced", runTag("used", 1)), used.manifest.descriptor.digest);
        return above.client.resolveManifest(...question);
      },
    };
    const pass = { host: "test", dryRun: false, policy: now, orgs: [name], claims, surveyedAtMs: surveyedAtMs + 60_000 };
    const report = await pruneHost({ ...deps(), upstream }, pass, () => undefined, signal);
    expect(shown(report)).toMatchObject({
      [`raced:${runTag("moves", 1)}`]: "changed",
      [`raced:${runTag("used", 1)}`]: "changed",
      [`raced:${runTag("goes", 1)}`]: "no release",
    });
    expect((await verify("raced", runTag("moves", 1))).digest).toBe(next.manifest.descriptor.digest);
    expect((await verify("raced", runTag("used", 1))).digest).toBe(used.manifest.descriptor.digest);
  });

  it("keeps what upstream cannot be asked about, but not what has lost its tag", async () => {
    claims = { releases: [], openRunTags: [], replicating: [] };
    const former = await pushed("silent", "v1");
    await pushed("silent", "v1");
    using nowhere = createDistributionClient({ baseUrl: "http://127.0.0.1:9", connectTimeoutMs: 500 });
    const { surveyedAtMs } = await surveyImages(deps(), [name], signal);
    const pass = { host: "test", dryRun: false, policy: now, orgs: [name], claims, surveyedAtMs: surveyedAtMs + 1000 };
    expect(shown(await pruneHost({ ...deps(), upstream: nowhere }, pass, () => undefined, signal))).toMatchObject({
      "silent:v1": "not upstream",
      [`silent@${former.manifest.descriptor.digest}`]: "no tag",
    });
  });

  it("aborts the ingests of our writers that nobody has written to for an hour, and no others", async () => {
    const { ns } = org.scratch;
    for (const ref of ["upload-left", "of-a-stranger"]) {
      const request = async function* () {
        yield { action: WriteAction.WRITE, ref, data: Buffer.from("half"), offset: 0n };
      };
      for await (const _answer of ns.content.write(request(), { signal }));
    }
    expect(await findAbandonedIngests(ns, Date.now(), signal)).toEqual([]);
    const inTwoHours = Date.now() + 2 * 3_600_000;
    expect(await findAbandonedIngests(ns, inTwoHours, signal)).toEqual(["upload-left"]);
    await abortIngests(ns, ["upload-left", "gone-already"], signal);
    expect((await ns.content.listStatuses({}, { signal })).statuses.map(({ ref }) => ref)).toEqual(["of-a-stranger"]);
    await ns.content.abort({ ref: "of-a-stranger" }, { signal });
  });

  it("takes the snapshots of an unpack that died once its lease is gone, and leaves alone what a lease holds", async () => {
    const containerd = org.scratch.containerd;
    for (const lease of ["push/dead", "push/busy"]) {
      await createLease(org.scratch.ns, { id: lease }, signal);
      const snapshot = { snapshotter: "overlayfs", key: `extract-${lease}`, parent: "", labels: {} };
      await prepareSnapshot(containerd.namespace(org.scratch.name, lease), snapshot, signal);
    }
    await deleteLease(org.scratch.ns, "push/dead", signal);
    await prune();
    expect(await statSnapshot(org.scratch.ns, "overlayfs", "extract-push/dead", signal)).toBeUndefined();
    expect(await statSnapshot(org.scratch.ns, "overlayfs", "extract-push/busy", signal)).toBeDefined();
    await deleteLease(org.scratch.ns, "push/busy", signal);
  });

  it("never gets in the way of pushes, pins and releases, every 200 ms beside them", async () => {
    claims = { releases: [], openRunTags: [], replicating: [] };
    let isOver = false;
    let passes = 0;
    let removed = 0;
    const pruning = (async () => {
      for (; !isOver; passes += 1) {
        removed += (await prune()).removed;
        if (!isOver) await sleep(200);
      }
    })();

    /** One run as a deploy does it; `prefix` is open for as long as Temporal would say so. */
    async function deployed(app: string, version: number): Promise<void> {
      const run = randomUUID();
      claims.openRunTags.push(runTagPrefix(run));
      const tag = runTag(run, 1);
      const image = await pushed(app, tag);
      const pushedAt = passes;
      // it waits for its turn for longer than a whole pass takes
      await eventually(() => expect(passes).toBeGreaterThan(pushedAt + 1));
      const { digest } = await verify(app, tag);
      await mirror.images.pin(name, org.repository(app), digest, signal);
      await container(`${app}-${version}`, nameOf(app, tag), digest);
      if (version > 1) await org.scratch.ns.containers.delete({ id: `${app}-${version - 1}` }, { signal });
      claims.releases = claims.releases
        .filter((each) => each.app !== app || each.version >= version - 1)
        .map((each) => (each.app === app ? { ...each, live: false } : each));
      release(app, version, tag, digest, true);
      await mirror.images.unpin(name, org.repository(app), digest, signal);
      claims.openRunTags = claims.openRunTags.filter((each) => each !== runTagPrefix(run));
      expect((await verify(app, tag)).digest).toBe(image.manifest.descriptor.digest);
    }
    const apps = ["one", "two", "three"];
    try {
      await Promise.all(
        apps.map(async (app) => {
          for (let version = 1; version <= 4; version += 1) await deployed(app, version);
        }),
      );
    } finally {
      isOver = true;
      await pruning;
    }
    expect(passes).toBeGreaterThan(1);
    await prune();
    const left = (await listImages(org.scratch.ns, [], signal))
      .map((image) => image.name)
      .filter((image) => apps.some((app) => image.includes(`/${app}:`)));
    expect(left.sort()).toEqual(claims.releases.map(({ image }) => image.name).sort());
    for (const { app, image } of claims.releases) await verify(app, image.name.slice(image.name.lastIndexOf(":") + 1));
    expect(removed).toBeGreaterThan(0);
  });

  it("that breaks off with containerd leaves every image whole, and the next pass does the rest", async () => {
    claims = { releases: [], openRunTags: [], replicating: [] };
    const kept = await pushed("broken", runTag("kept", 1));
    release("broken", 1, runTag("kept", 1), kept.manifest.descriptor.digest, true);
    const image = await someImage();
    for (let index = 0; index < 24; index += 1) await pushed("broken", runTag(`failed-${index}`, 1), image);
    let killing: Promise<void> | undefined;
    const onReport = (details: object) => {
      if ("removed" in details) killing ??= daemon.killAndStart();
    };
    await expect(prune({ onReport })).rejects.toThrow(/UNAVAILABLE|INTERNAL/);
    await killing;
    await verify("broken", runTag("kept", 1));
    const half = (await listImages(org.scratch.ns, [], signal)).filter((each) => each.name.includes("/broken:")).length;
    expect(half).toBeLessThan(25);
    expect(half).toBeGreaterThan(1);
    await pushed("broken", runTag("after", 1));
    expect((await prune()).removed).toBeGreaterThanOrEqual(half);
    await verify("broken", runTag("kept", 1));
    expect((await listLeases(org.scratch.ns, signal)).filter(({ id }) => id.startsWith("prune/"))).toEqual([]);
  });
});
