import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { inject } from "vitest";
import { orgNamespace } from "../../config/paths.ts";
import type { OrgAccess } from "../../mirror/access/org-access.ts";
import { type HostImages, createHostImages } from "../../mirror/images/host-images.ts";
import { type Orgs, openOrgs } from "../../mirror/orgs.ts";
import { firstOf } from "../../mirror/pull/readable-store.ts";
import type { StoreSources } from "../../mirror/serve/select-store.ts";
import { copyOf } from "../../mirror/store/copy-names.ts";
import { createUpstreamStore } from "../../mirror/pull/upstream.ts";
import { type DistributionClient, createDistributionClient } from "../../oci/distribution-client.ts";
import { type Repository, parseRepository } from "../../oci/repository.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import { type ScratchNamespace, openScratchNamespace } from "./scratch-namespace.ts";
import type { TestImage } from "./test-image.ts";

export const imageHost = "registry.slipway.test";

export type MirrorHarness = AsyncDisposable & {
  readonly port: number;
  readonly orgs: Orgs;
  readonly images: HostImages;
  readonly warnings: object[];
  /** Serves the org on a loopback address of its own. */
  org(name: string): Promise<MirroredOrg>;
};

export type MirroredOrg = {
  readonly name: string;
  readonly address: string;
  readonly baseUrl: string;
  readonly client: DistributionClient;
  readonly scratch: ScratchNamespace;
  repository(app: string): Repository;
};

export type HarnessOptions = {
  readonly containerdSocket?: string;
  /** "none": there is nothing behind it, and it knows that */
  readonly upstreamUrl?: string;
  readonly publicRegistry?: StoreSources["publicRegistry"];
  readonly pushIdleMs?: number;
  readonly brokenIdleMs?: number;
  readonly uploadIdleMs?: number;
  /** absent: no credential is asked for */
  readonly access?: (org: string) => OrgAccess;
  /** with which the mirror itself reads from upstream */
  readonly upstreamCredentials?: { readonly username: string; readonly password: string };
};

let lastAddress = 1 + Math.floor(Math.random() * 200) * 256;

/** A free loopback address: the mirror tells orgs apart by the socket, so each needs its own. */
export function loopbackAddress(): string {
  lastAddress += 1;
  return `127.77.${Math.floor(lastAddress / 256) % 256}.${(lastAddress % 254) + 1}`;
}

export const orgName = (prefix: string): string => `${prefix}-${randomUUID().slice(0, 8)}`;

/** The mirror as its process has it, over the run's containerd, without the process. */
export async function openMirrorHarness(options: HarnessOptions = {}): Promise<MirrorHarness> {
  const stack = new AsyncDisposableStack();
  const containerdSocket = options.containerdSocket ?? inject("containerdSocket");
  const base = await openScratchNamespace(containerdSocket);
  stack.use(base);
  const stateDir = await mkdtemp(path.join(tmpdir(), "mirror-"));
  stack.defer(() => rm(stateDir, { recursive: true }));
  const port = await anyFreePort();
  const warnings: object[] = [];
  // port 9 is "discard": nothing listens there
  const last = options.upstreamUrl === "none";
  const baseUrl = last ? undefined : options.upstreamUrl;
  const client = createDistributionClient({
    baseUrl: baseUrl ?? "http://127.0.0.1:9",
    connectTimeoutMs: 500,
    ...(options.upstreamCredentials === undefined ? {} : { credentials: options.upstreamCredentials }),
  });
  stack.defer(() => client[Symbol.dispose]());
  const downMs = 50;
  const sources = {
    imageHost,
    upstream(host?: string) {
      if (last) return firstOf([]);
      return createUpstreamStore(client, { downMs, ...(host === undefined ? {} : { rename: (name: Repository) => copyOf(host, name) }) });
    },
    publicRegistry: options.publicRegistry ?? (() => undefined),
  };
  const log = {
    info: () => undefined,
    warn: (fields: object) => void warnings.push(fields),
    error: (fields: object) => void warnings.push(fields),
  };
  const idle = options.pushIdleMs === undefined ? {} : { pushIdleMs: options.pushIdleMs };
  const uploads = {
    ...(options.brokenIdleMs === undefined ? {} : { brokenIdleMs: options.brokenIdleMs }),
    ...(options.uploadIdleMs === undefined ? {} : { idleMs: options.uploadIdleMs }),
  };
  const access = options.access === undefined ? {} : { access: options.access };
  const { containerd } = base;
  const scratches: ScratchNamespace[] = [];
  stack.defer(async () => {
    for (const scratch of scratches) await scratch[Symbol.asyncDispose]();
  });
  const orgs = await openOrgs(
    { containerd, stateDir, ports: [port], snapshotter: "overlayfs", sources, log, ...idle, uploads, ...access },
    AbortSignal.timeout(30_000),
  );
  stack.use(orgs);
  const settings = {
    registry: { url: "http://127.0.0.1:9", listen: { host: "127.0.0.1", port: 9 }, imageHost },
    containerd: { socket: containerdSocket, managed: true, snapshotter: "overlayfs" },
  };
  return {
    port,
    orgs,
    images: createHostImages({ containerd, settings }),
    warnings,
    async org(name) {
      const scratch = await openScratchNamespace(containerdSocket, orgNamespace(name));
      scratches.push(scratch);
      const address = loopbackAddress();
      await orgs.put(name, [address], AbortSignal.timeout(10_000));
      const baseUrl = `http://${address}:${port}`;
      return {
        name,
        address,
        baseUrl,
        client: createDistributionClient({ baseUrl }),
        scratch,
        repository: (app) => parseRepository(`${name}/${app}`),
      };
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Pushes as BuildKit does: asks for each blob, sends those that are missing, the manifest last. Answers how many were sent. */
export async function pushImage(client: DistributionClient, repository: Repository, tag: string, image: TestImage): Promise<number> {
  const signal = AbortSignal.timeout(60_000);
  const sent = await pushBlobs(client, repository, image);
  const { bytes, descriptor } = image.manifest;
  const reference = { kind: "tag", tag: tag as never } as const;
  await client.pushManifest(repository, reference, descriptor.mediaType, bytes, signal);
  return sent;
}

export async function pushBlobs(client: DistributionClient, repository: Repository, image: TestImage): Promise<number> {
  const signal = AbortSignal.timeout(60_000);
  let sent = 0;
  for (const { bytes, descriptor } of [...image.layers, image.config]) {
    if ((await client.statBlob(repository, descriptor.digest, signal)) !== undefined) continue;
    await client.pushBlob(repository, sourceOf(bytes, descriptor.digest), signal);
    sent += 1;
  }
  return sent;
}

export function sourceOf(bytes: Buffer, digest: TestImage["manifest"]["descriptor"]["digest"]) {
  return { digest, sizeBytes: bytes.length, open: (offset: number) => Readable.from([bytes.subarray(offset)], { objectMode: false }) };
}
