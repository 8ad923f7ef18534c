import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { orgNamespace } from "../../../config/paths.ts";
import { getImage } from "../../../containerd/images.ts";
import { createHostImages } from "../../../mirror/images/host-images.ts";
import { isOutage } from "../../../mirror/store/storage-error.ts";
import { createDistributionClient } from "../../../oci/distribution-client.ts";
import { type Repository, parseRepository } from "../../../oci/repository.ts";
import { eventually } from "../../support/eventually.ts";
import { type MirrorHarness, imageHost, loopbackAddress, openMirrorHarness, orgName, pushImage } from "../../support/mirror-harness.ts";
import { type MirrorProcess, createMirrorProcess } from "../../support/mirror-process.ts";
import { type OwnContainerd, startContainerd } from "../../support/own-containerd.ts";
import { type PushStep, inManifest, pushSteps } from "../../support/push-steps.ts";
import { type ScratchNamespace, openScratchNamespace } from "../../support/scratch-namespace.ts";
import { type TestImage, imageOf } from "../../support/test-image.ts";
import { expectEveryByte, expectNothingLeft } from "../../support/whole-or-nothing.ts";

const signal = AbortSignal.timeout(600_000);
const snapshotter = "overlayfs";

/** The PUT of a manifest takes some tens of milliseconds. */
const stepsWith = (manifestDelaysMs: readonly number[]): readonly (readonly [string, PushStep])[] => [
  ...pushSteps,
  ...manifestDelaysMs.map((delayMs) => [`${delayMs} ms into the PUT of the manifest`, inManifest(delayMs)] as const),
];

const someImage = (): Promise<TestImage> =>
  imageOf(
    Array.from({ length: 3 }, (_, layer) => ({
      [`file-${layer}`]: randomBytes(1_000_000).toString("base64"),
      [`name-${layer}`]: randomUUID(),
    })),
    { compressed: false },
  );

/** An org of a mirror, whoever of the two was killed. */
type Victim = {
  readonly baseUrl: string;
  readonly org: string;
  readonly scratch: ScratchNamespace;
  readonly socket: string;
  readonly imageHost: string;
};

/** Kills at a step and pushes again, from the start; whoever looks meanwhile sees a whole image or none. */
async function survives(victim: Victim, step: PushStep, killAndStart: () => Promise<void>): Promise<void> {
  const { baseUrl, org, scratch, imageHost } = victim;
  const repository = parseRepository(`${org}/app-${randomUUID().slice(0, 8)}`);
  const image = await someImage();
  const ingesting = () =>
    eventually(async () => {
      const { statuses } = await scratch.ns.content.listStatuses({}, { signal });
      expect(statuses.some(({ offset }) => offset > 0n)).toBe(true);
    });
  await using _look = lookAllTheTime(victim, repository);
  await step({ baseUrl, repository, ingesting }, image);
  await killAndStart();

  using client = createDistributionClient({ baseUrl });
  await eventually(async () => void (await pushImage(client, repository, "v1", image)), 60_000);
  expect(await getImage(scratch.ns, `${imageHost}/${repository}:v1`, signal)).toBeDefined();
  await expectStartableOrAbsent(victim, repository);
  await expectEveryByte(scratch, image, signal);
  await eventually(() => expectNothingLeft(scratch, signal), 60_000);
}

/** At its disposal it throws what it has seen of a half image. */
function lookAllTheTime(victim: Victim, repository: Repository): AsyncDisposable {
  const over = new AbortController();
  const looking = (async () => {
    while (!over.signal.aborted) {
      await expectStartableOrAbsent(victim, repository).catch((error: unknown) => {
        if (!isOutage(error)) throw error;
      });
      await sleep(20);
    }
  })();
  looking.catch(() => undefined);
  return {
    async [Symbol.asyncDispose]() {
      over.abort();
      await looking;
    },
  };
}

/** What has a record can be started: all its content and its snapshots. */
async function expectStartableOrAbsent({ org, scratch, socket, imageHost }: Victim, repository: Repository): Promise<void> {
  if ((await getImage(scratch.ns, `${imageHost}/${repository}:v1`, signal)) === undefined) return;
  const settings = {
    registry: { url: "http://127.0.0.1:9", listen: { host: "127.0.0.1", port: 9 }, imageHost },
    containerd: { socket, managed: true, snapshotter },
  };
  const images = createHostImages({ containerd: scratch.containerd, settings });
  await images.verify({ org, repository, tag: "v1" }, signal);
}

describe("a mirror that is killed", () => {
  const stack = new AsyncDisposableStack();
  const org = orgName("killed");
  let mirror: MirrorProcess;
  let victim: Victim;

  beforeAll(async () => {
    const socket = inject("containerdSocket");
    mirror = stack.use(await createMirrorProcess(socket));
    const scratch = stack.use(await openScratchNamespace(socket, orgNamespace(org)));
    await mirror.start();
    const address = loopbackAddress();
    await mirror.admin.putOrg(org, [address], signal);
    victim = {
      baseUrl: `http://${address}:${mirror.settings.mirror.port}`,
      org,
      scratch,
      socket,
      imageHost: mirror.settings.registry.imageHost,
    };
  });
  afterAll(() => stack.disposeAsync());

  it.each(stepsWith([0, 21]))("%s leaves nothing, and the next push is whole", async (_name, step) => {
    await survives(victim, step, async () => {
      await mirror.stop("SIGKILL");
      await mirror.start();
      // what it left is gone before it serves
      await expectNothingLeft(victim.scratch, signal);
    });
  });
});

describe("a containerd that is killed", () => {
  const stack = new AsyncDisposableStack();
  let daemon: OwnContainerd;
  let mirror: MirrorHarness;
  let victim: Victim;

  beforeAll(async () => {
    daemon = stack.use(await startContainerd());
    mirror = stack.use(
      await openMirrorHarness({
        containerdSocket: daemon.socket,
        upstreamUrl: "none",
        pushIdleMs: 500,
        brokenIdleMs: 500,
        uploadIdleMs: 1_000,
      }),
    );
    const { baseUrl, name, scratch } = await mirror.org(orgName("killed"));
    victim = { baseUrl, org: name, scratch, socket: daemon.socket, imageHost };
  });
  afterAll(() => stack.disposeAsync());

  it.each(stepsWith([0, 8, 21, 55]))("%s leaves nothing, and the next push is whole", async (_name, step) => {
    await survives(victim, step, () => daemon.killAndStart());
  });
});
