import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { instancePaths, orgNamespace } from "../../../../config/paths.ts";
import type { Settings } from "../../../../config/settings.ts";
import { type Containerd, ensureNamespace, openContainerd } from "../../../../containerd/client.ts";
import { createMachines } from "../../../../machines/machines.ts";
import { teardownHost } from "../../../../machines/teardown.ts";
import type { MachinePlan, Machines } from "../../../../machines/types.ts";
import type { Digest } from "../../../../oci/digest.ts";
import { makeOwnedDir, removeOwnedDir } from "../../../support/owned-dir.ts";
import { type TestImage, importImage } from "./import-image.ts";

export type MachineLab = AsyncDisposable & {
  readonly settings: Settings;
  readonly containerd: Containerd;
  readonly machines: Machines;
  /** Two orgs of this lab alone; their namespaces go with the lab. */
  readonly orgs: readonly [string, string];
  importImage(org: string, name: string, image?: TestImage): Promise<Digest>;
  plan(overrides: Pick<MachinePlan, "id" | "image"> & Partial<MachinePlan>): MachinePlan;
};

const signal = AbortSignal.timeout(300_000);

export type LabDaemons = { readonly containerdSocket: string; readonly toolsBinDir: string; readonly toolsShareDir: string };

/** An instance of Slipway's machines beside all others on the host: own id, addresses, orgs, folders. */
export async function openMachineLab(daemons: LabDaemons): Promise<MachineLab> {
  const root = await makeOwnedDir();
  const settings = labSettings(root, daemons);
  // with them the next run finds the bridges and rules of one that was killed
  await mkdir(settings.dataDir);
  await writeFile(instancePaths.settings(settings.dataDir), JSON.stringify(settings), { mode: 0o600 });
  const containerd = openContainerd(daemons.containerdSocket);
  const machines = createMachines({ containerd, settings });
  const orgs = [`${settings.instance}-a`, `${settings.instance}-b`] as const;
  for (const org of orgs) await ensureNamespace(containerd, orgNamespace(org), signal);
  return {
    settings,
    containerd,
    machines,
    orgs,
    async importImage(org, name, image = {}) {
      const { leases } = containerd.namespace(orgNamespace(org));
      const id = `import/${crypto.randomUUID()}`;
      await leases.create({ id }, { signal });
      try {
        return await importImage(containerd.namespace(orgNamespace(org), id), name, image, signal);
      } finally {
        await leases.delete({ id }, { signal });
      }
    },
    plan: (overrides) => ({
      org: orgs[0],
      labels: { "slipway.role": "app" },
      env: {},
      isolation: "sandboxed",
      mounts: [],
      limits: { memoryMb: 64, cpus: 0.5, pids: 64 },
      hosts: [],
      ...overrides,
    }),
    async [Symbol.asyncDispose]() {
      await teardownHost(settings, signal);
      for (const org of orgs) await removeNamespace(containerd, org);
      await containerd[Symbol.asyncDispose]();
      await removeOwnedDir(root);
    },
  };
}

async function removeNamespace(containerd: Containerd, org: string): Promise<void> {
  const ctr = containerd.namespace(orgNamespace(org));
  const { containers } = await ctr.containers.list({}, { signal });
  for (const { id } of containers) await ctr.containers.delete({ id }, { signal });
  const { images } = await ctr.images.list({}, { signal });
  for (const { name } of images) await ctr.images.delete({ name }, { signal });
  const { leases } = await ctr.leases.list({}, { signal });
  for (const { id } of leases) await ctr.leases.delete({ id }, { signal });
  // a synchronous delete runs the garbage collector, which takes snapshots and content
  await ctr.leases.create({ id: "last" }, { signal });
  await ctr.leases.delete({ id: "last", sync: true }, { signal });
  await containerd.namespaces.delete({ name: orgNamespace(org) }, { signal });
}

function labSettings(root: string, daemons: LabDaemons): Settings {
  const instance = crypto.randomUUID().slice(0, 8);
  // beside the pools of instances (10.64.0.0/10): `down` of one in another lane takes every link in its pool for its own
  const octet = 128 + (Number.parseInt(instance.slice(0, 2), 16) % 64);
  return {
    instance,
    dataDir: path.join(root, "data"),
    runDir: path.join(root, "run"),
    hostId: "lab",
    defaultOrg: `${instance}-a`,
    tools: { binDir: daemons.toolsBinDir, shareDir: daemons.toolsShareDir },
    temporal: { address: "127.0.0.1:1", namespace: "default", uiUrl: "http://127.0.0.1:1" },
    s3: {
      endpoint: "http://127.0.0.1:1",
      region: "us-east-1",
      bucket: "none",
      accessKeyId: "none",
      secretAccessKey: "none",
      forcePathStyle: true,
    },
    registry: { url: "http://127.0.0.1:1", listen: { host: "127.0.0.1", port: 1 }, imageHost: "registry.slipway.internal:5000" },
    containerd: { socket: daemons.containerdSocket, managed: false, snapshotter: "overlayfs" },
    mirror: { port: 5000, adminSocket: path.join(root, "run", "mirror.sock"), publicFallback: false },
    network: {
      ipv4Pool: `10.${octet}.0.0/16`,
      ipv6Pool: `fd${instance.slice(0, 2)}:${instance.slice(2, 6)}:${instance.slice(4, 8)}::/48`.toLowerCase(),
    },
    router: { adminSocket: path.join(root, "run", "router.sock"), listenHost: "127.0.0.1", firstPort: 40_000 },
    logs: { listen: { host: "127.0.0.1", port: 1 } },
    builder: { idleTimeoutMs: 60_000, memoryMb: 512, cpus: 1 },
  };
}
