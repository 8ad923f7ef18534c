import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { orgNamespace } from "../../../config/paths.ts";
import { openPeers } from "../../../mirror/peers/open-peers.ts";
import { createPeerClient } from "../../../mirror/peers/peer-client.ts";
import { createPeerTokens } from "../../../mirror/peers/peer-tokens.ts";
import { type Digest, digestOf } from "../../../oci/digest.ts";
import { type DistributionClient, createDistributionClient } from "../../../oci/distribution-client.ts";
import { type Repository, parseRepository } from "../../../oci/repository.ts";
import { anyFreePort } from "../../../stack/free-port.ts";
import { loopbackAddress, orgName, pushImage } from "../../support/mirror-harness.ts";
import { type MirrorProcess, createMirrorProcess } from "../../support/mirror-process.ts";
import { startContainerd } from "../../support/own-containerd.ts";
import { createRegistryProcess } from "../../support/registry-process.ts";
import { openScratchNamespace } from "../../support/scratch-namespace.ts";
import { type ScriptedProxy, startScriptedProxy } from "../../support/scripted-proxy.ts";
import { type TestImage, imageOf } from "../../support/test-image.ts";
import { makeSelfSigned } from "../../support/self-signed.ts";
import { type ScratchBucket, openScratchBucket } from "../registry/scratch-bucket.ts";

const signal = AbortSignal.timeout(300_000);
const systemToken = randomBytes(24).toString("hex");
const name = orgName("peers");
const mib = 1024 * 1024;

describe("hosts of one registry", () => {
  const stack = new AsyncDisposableStack();
  let bucket: ScratchBucket;
  let durable: DistributionClient;
  /** the way of the puller to the registry, and to the holder */
  let upstream: ScriptedProxy;
  let link: ScriptedProxy;
  let holder: DistributionClient;
  let puller: DistributionClient;
  let pulling: MirrorProcess;

  beforeAll(async () => {
    bucket = stack.use(await openScratchBucket());
    const registry = stack.use(
      await createRegistryProcess({
        bucket: bucket.bucket,
        s3: inject("s3"),
        toolsBinDir: inject("toolsBinDir"),
        amend: (settings) => ({ ...settings, auth: "none", systemToken }),
      }),
    );
    const [daemon] = await Promise.all([startContainerd(), registry.start()]);
    stack.use(daemon);
    durable = createDistributionClient({ baseUrl: registry.url });
    upstream = stack.use(await startScriptedProxy(registry.url));
    const [ports, addresses] = [
      [await anyFreePort(), await anyFreePort()],
      [loopbackAddress(), loopbackAddress()],
    ];
    link = stack.use(await startScriptedProxy(`http://127.0.0.1:${ports[0]}`));
    const start = async (index: number, socket: string, registryUrl: string, url: string) => {
      const mirror = stack.use(
        await createMirrorProcess(socket, (settings) => ({
          ...settings,
          hostId: `host-${index}`,
          registry: { ...settings.registry, url: registryUrl, systemToken },
          mirror: { ...settings.mirror, peer: { listen: { host: "127.0.0.1", port: ports[index]! }, url } },
        })),
      );
      stack.use(await openScratchNamespace(socket, orgNamespace(name)));
      await mirror.start();
      await mirror.admin.putOrg(name, [addresses[index]!], signal);
      const client = createDistributionClient({ baseUrl: `http://${addresses[index]}:${mirror.settings.mirror.port}` });
      return { mirror, client };
    };
    const [first, second] = await Promise.all([
      start(0, inject("containerdSocket"), registry.url, link.url),
      start(1, daemon.socket, upstream.url, `http://127.0.0.1:${ports[1]}`),
    ]);
    [holder, puller, pulling] = [first.client, second.client, second.mirror];
  }, 120_000);
  afterAll(() => stack.disposeAsync());
  beforeEach(() => {
    for (const { blobs, script } of [upstream, link]) {
      blobs.length = 0;
      Object.assign(script, { isDown: false, lies: false, cutNextAfterBytes: undefined });
    }
  });

  /** Pushes an image to the holder, and waits until the registry knows that it is there. */
  async function pushToHolder(
    app: string,
    layerBytes = mib,
  ): Promise<{ readonly repository: Repository; readonly image: TestImage; readonly digest: Digest }> {
    const repository = parseRepository(`${name}/${app}`);
    const image = await imageOf([{ data: randomBytes(layerBytes / 2).toString("hex") }], { compressed: false });
    await pushImage(holder, repository, "v1", image);
    const prefix = `locations/${repository.replace("/", ":")}/`;
    const keys = [`${prefix}${image.manifest.descriptor.digest.replace(":", "/")}/host-0`];
    await expect.poll(() => bucket.keys(prefix), { timeout: 20_000 }).toEqual(keys);
    return { repository, image, digest: image.manifest.descriptor.digest };
  }
  async function get(repository: Repository, digest: Digest): Promise<Buffer> {
    const content = await puller.readBlob(repository, digest, undefined, signal);
    return Buffer.concat((await content!.body.toArray()) as Buffer[]);
  }
  async function pullAll(repository: Repository, { manifest, config, layers }: TestImage): Promise<void> {
    const { digest } = manifest.descriptor;
    expect((await puller.readManifest(repository, { kind: "digest", digest }, signal))?.bytes).toEqual(manifest.bytes);
    for (const { descriptor, bytes } of [config, ...layers]) expect((await get(repository, descriptor.digest)).equals(bytes)).toBe(true);
  }

  it("pull from the one that has an image, with no byte from upstream, and say that they have it then", async () => {
    const { repository, image, digest } = await pushToHolder("first");
    await pullAll(repository, image);
    expect(link.blobs).toHaveLength(2);
    expect(upstream.blobs).toEqual([]);
    const key = `locations/${repository.replace("/", ":")}/${digest.replace(":", "/")}/host-1`;
    await expect.poll(() => bucket.keys(key), { timeout: 30_000 }).toEqual([key]);
  });

  it("ask nobody else for what a pusher asks, and only upstream for a tag", async () => {
    const { repository, image, digest } = await pushToHolder("pusher");
    expect(await puller.statBlob(repository, image.layers[0]!.descriptor.digest, signal)).toBeUndefined();
    expect(await puller.resolveManifest(repository, { kind: "digest", digest }, signal)).toBeUndefined();
    expect(await puller.readManifest(repository, { kind: "tag", tag: "v1" as never }, signal)).toBeUndefined();
    expect(link.blobs).toEqual([]);
  });

  it("read nothing with a token of another repository, an old one, a stranger's or none, and change nothing with any", async () => {
    const { repository, image } = await pushToHolder("tokens");
    const tokens = createPeerTokens(systemToken);
    const status = async (token: string | undefined, method = "GET", path = `blobs/${image.config.descriptor.digest}`) => {
      const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const answer = await fetch(`${link.url}/v2/${repository}/${path}`, { method, headers });
      await answer.arrayBuffer();
      return answer.status;
    };
    const right = await tokens.mint(repository, Date.now());
    expect(await status(right)).toBe(200);
    expect(await status(right, "HEAD")).toBe(200);
    expect(await status(right, "GET", "manifests/v1")).toBe(404);
    expect(await status(undefined)).toBe(401);
    expect(await status(await tokens.mint(parseRepository(`${name}/first`), Date.now()))).toBe(401);
    expect(await status(await tokens.mint(repository, Date.now() - 5 * 60_000))).toBe(401);
    expect(await status(await createPeerTokens("another registry's").mint(repository, Date.now()))).toBe(401);
    expect(await status(right, "POST", "blobs/uploads/")).toBe(401);
    expect(await status(right, "DELETE", "manifests/v1")).toBe(401);
  });

  it("forget a host that does not have what it said", async () => {
    const { repository, image, digest } = await pushToHolder("gone");
    await pushImage(durable, repository, "v1", image);
    await fetch(`${holder.baseUrl}/v2/${repository}/manifests/${digest}`, { method: "DELETE" });
    await pullAll(repository, image);
    const key = `locations/${repository.replace("/", ":")}/${digest.replace(":", "/")}/host-0`;
    await expect.poll(() => bucket.keys(key), { timeout: 20_000 }).toEqual([]);
  });

  it("pull by digest from each other while upstream is down", async () => {
    const { repository, image } = await pushToHolder("down");
    upstream.script.isDown = true;
    await pullAll(repository, image);
    expect(link.blobs).toHaveLength(2);
  });

  it("get only the rest from upstream when the other host breaks off in the middle", async () => {
    const { repository, image } = await pushToHolder("cut", 12 * mib);
    await pushImage(durable, repository, "v1", image);
    const { digest } = image.layers[0]!.descriptor;
    const manifest = { kind: "digest", digest: image.manifest.descriptor.digest } as const;
    await puller.readManifest(repository, manifest, signal);
    link.script.cutNextAfterBytes = 9 * mib;
    expect((await get(repository, digest)).equals(image.layers[0]!.bytes)).toBe(true);
    expect(link.blobs).toHaveLength(1);
    const [rest, ...more] = upstream.blobs;
    expect(rest?.first).toBeGreaterThan(0);
    expect(rest?.first).toBeLessThanOrEqual(9 * mib);
    expect(more).toEqual([]);
  });

  it("throw away wrong bytes and ask upstream then", async () => {
    // it does not ask for a while what has just broken off
    await pulling.stop("SIGTERM");
    await pulling.start();
    // so short that no reader gets any of it before all of it was right
    const { repository, image } = await pushToHolder("wrong", 32 * 1024);
    await pushImage(durable, repository, "v1", image);
    const { digest } = image.layers[0]!.descriptor;
    const manifest = { kind: "digest", digest: image.manifest.descriptor.digest } as const;
    await expect.poll(async () => (await puller.readManifest(repository, manifest, signal))?.bytes).toEqual(image.manifest.bytes);
    link.script.lies = true;
    expect((await get(repository, digest)).equals(image.layers[0]!.bytes)).toBe(true);
    expect(link.blobs).toHaveLength(1);
    // who sent wrong ones is asked last for a while
    expect((await get(repository, digest)).equals(image.layers[0]!.bytes)).toBe(true);
    expect(link.blobs).toHaveLength(1);
  });
});

describe("a mirror whose settings name peers", () => {
  it("speaks HTTPS with a certificate, which others have to trust, and refuses settings that cannot be right", async () => {
    await using mirror = await createMirrorProcess();
    const port = await anyFreePort();
    const [certFile, keyFile] = ["peer.pem", "peer.key"].map((file) => path.join(mirror.settings.tools.shareDir, file)) as [string, string];
    await makeSelfSigned({ certFile, keyFile });
    const url = `https://127.0.0.1:${port}`;
    const settings = {
      ...mirror.settings,
      registry: { ...mirror.settings.registry, systemToken },
      mirror: { ...mirror.settings.mirror, peer: { listen: { host: "127.0.0.1", port }, url, tls: { certFile, keyFile } } },
    };
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    await using peering = openPeers(settings, log)!;
    await peering.serve(() => undefined, log, signal);
    const tokens = createPeerTokens(systemToken);
    const absent = { kind: "digest", digest: digestOf("absent") } as const;
    const read = (ca?: string) =>
      createPeerClient({ url, tokens, ...(ca === undefined ? {} : { ca }) }).readManifest(parseRepository("acme/web"), absent, signal);
    expect(await read(await readFile(certFile, "utf8"))).toBeUndefined();
    await expect(read()).rejects.toMatchObject({ code: "ANSWER_INVALID" });
    const plain = { ...settings, mirror: { ...settings.mirror, peer: { ...settings.mirror.peer, url: `http://127.0.0.1:${port}` } } };
    expect(() => openPeers({ ...settings, registry: mirror.settings.registry }, log)).toThrow(
      /mirror\.peer is set and registry\.systemToken is not/,
    );
    expect(() => openPeers(plain, log)).toThrow(/expected https: with mirror\.peer\.tls/);
  });
});
