import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { orgNamespace } from "../../../config/paths.ts";
import { eventually } from "../../support/eventually.ts";
import { type MirrorHarness, type MirroredOrg, openMirrorHarness, orgName, pushImage } from "../../support/mirror-harness.ts";
import { type MirrorProcess, createMirrorProcess } from "../../support/mirror-process.ts";
import { type OwnContainerd, startContainerd } from "../../support/own-containerd.ts";
import { type ScratchNamespace, openScratchNamespace } from "../../support/scratch-namespace.ts";
import { type ScriptedProxy, startScriptedProxy } from "../../support/scripted-proxy.ts";
import { imageOf } from "../../support/test-image.ts";
import { expectEveryByte, expectNothingLeft } from "../../support/whole-or-nothing.ts";

const signal = AbortSignal.timeout(300_000);

describe("a fetch of an image that is killed in the middle of a layer", () => {
  const stack = new AsyncDisposableStack();
  const name = orgName("fetched");
  let above: MirroredOrg;
  let proxy: ScriptedProxy;

  beforeAll(async () => {
    const upstream: MirrorHarness = stack.use(await openMirrorHarness({ upstreamUrl: "none" }));
    above = await upstream.org(name);
    proxy = stack.use(await startScriptedProxy(above.baseUrl));
  });
  afterAll(() => stack.disposeAsync());

  async function pushAbove(app: string) {
    const image = await imageOf([{ small: "x" }, { large: randomBytes(6_000_000).toString("base64") }], { compressed: false });
    const repository = above.repository(app);
    await pushImage(above.client, repository, "v1", image);
    return { image, wanted: { repository, digest: image.manifest.descriptor.digest } };
  }

  async function untilMiddle({ ns }: ScratchNamespace): Promise<void> {
    await eventually(async () => {
      const { statuses } = await ns.content.listStatuses({}, { signal });
      expect(statuses.some(({ offset }) => offset >= 500_000n)).toBe(true);
    });
  }

  it("with the mirror leaves nothing, and is whole when it is asked for again", async () => {
    const daemon: OwnContainerd = stack.use(await startContainerd());
    const scratch = stack.use(await openScratchNamespace(daemon.socket, orgNamespace(name)));
    const mirror: MirrorProcess = stack.use(
      await createMirrorProcess(daemon.socket, (settings) => ({ ...settings, registry: { ...settings.registry, url: proxy.url } })),
    );
    await mirror.start();
    await mirror.admin.putOrg(name, [], signal);
    const { image, wanted } = await pushAbove("mirror");
    proxy.script.stallNextAfterBytes = 5_000_000;
    const broken = mirror.admin.fetchImage(name, wanted, signal);
    broken.catch(() => undefined);
    await untilMiddle(scratch);
    await mirror.stop("SIGKILL");
    await expect(broken).rejects.toThrow("Cannot ask the mirror");

    await mirror.start();
    await expectNothingLeft(scratch, signal);
    expect((await mirror.admin.fetchImage(name, wanted, signal)).digest).toBe(wanted.digest);
    await expectEveryByte(scratch, image, signal);
  });

  it("with containerd leaves nothing, and is whole when it is asked for again", async () => {
    const daemon = stack.use(await startContainerd());
    const mirror = stack.use(await openMirrorHarness({ containerdSocket: daemon.socket, upstreamUrl: proxy.url, pushIdleMs: 500 }));
    const { scratch } = await mirror.org(name);
    const { image, wanted } = await pushAbove("containerd");
    proxy.script.stallNextAfterBytes = 5_000_000;
    const broken = mirror.orgs.fetchImage(name, wanted, signal);
    const failure = broken.then(
      () => undefined,
      (error: unknown) => error,
    );
    await untilMiddle(scratch);
    await daemon.killAndStart();
    proxy.drop();
    expect(await failure, "the fetch broke off").toBeDefined();

    await eventually(() => expectNothingLeft(scratch, signal), 60_000);
    await eventually(async () => void (await mirror.orgs.fetchImage(name, wanted, signal)), 60_000);
    await expectEveryByte(scratch, image, signal);
  });
});
