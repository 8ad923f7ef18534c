import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { type Containerd, ensureNamespace } from "../../containerd/client.ts";
import { readImage, resolveRunnable } from "../../containerd/image.ts";
import { listImages } from "../../containerd/images.ts";
import { removeNamespace } from "../../containerd/remove-namespace.ts";
import { chainIds } from "../../containerd/chain-id.ts";
import { hasCommittedSnapshot } from "../../containerd/snapshots.ts";
import type { Builder } from "./builder.ts";

const run = promisify(execFile);
const snapshotter = "overlayfs";
const limitMs = 60 * 60_000;

/** Milliseconds from the builder asleep to an image that a machine can start from; the last two are nothing on the mirror's path. */
export type DeployTimes = { readonly totalMs: number; readonly wakeMs: number; readonly buildAndPushMs: number; readonly pullMs: number };

export type Deploy = { readonly source: Buffer; readonly imageName: string; readonly namespace: string };

export type DeployTools = { readonly builder: Builder; readonly containerd: Containerd; readonly binDir: string };

/**
 * The builder pushes to the far registry, and containerd pulls from there and unpacks; several side by side share one builder. Pulled by the
 * client, not by the transfer service, which fetches a layer for one namespace at a time and has the others wait.
 */
export async function deployDirectly(tools: DeployTools, deploys: readonly Deploy[]): Promise<DeployTimes[]> {
  const { builder, containerd, binDir } = tools;
  const signal = AbortSignal.timeout(limitMs);
  await builder.sleep();
  const startedAtMs = performance.now();
  await builder.wake();
  const wakeMs = performance.now() - startedAtMs;
  return await Promise.all(
    deploys.map(async ({ source, imageName, namespace }) => {
      await builder.build(source, imageName, signal);
      const pushedAtMs = performance.now();
      const argv = [
        "-a",
        containerd.socket,
        "-n",
        namespace,
        "images",
        "pull",
        "--local",
        "--plain-http",
        "--snapshotter",
        snapshotter,
        imageName,
      ];
      await run(path.join(binDir, "ctr"), argv, { signal, maxBuffer: 64 << 20 });
      const endedAtMs = performance.now();
      await requireReady(containerd, namespace, imageName, signal);
      return {
        totalMs: endedAtMs - startedAtMs,
        wakeMs,
        buildAndPushMs: pushedAtMs - startedAtMs - wakeMs,
        pullMs: endedAtMs - pushedAtMs,
      };
    }),
  );
}

/** The builder pushes to the mirror beside it. */
export async function deployByMirror({ builder, containerd }: DeployTools, deploy: Deploy): Promise<DeployTimes> {
  const signal = AbortSignal.timeout(limitMs);
  await builder.sleep();
  const startedAtMs = performance.now();
  await builder.wake();
  const wakeMs = performance.now() - startedAtMs;
  await builder.build(deploy.source, deploy.imageName, signal);
  const totalMs = performance.now() - startedAtMs;
  await requireReady(containerd, deploy.namespace, deploy.imageName, signal);
  return { totalMs, wakeMs, buildAndPushMs: totalMs - wakeMs, pullMs: 0 };
}

/** @throws Error when the image is not unpacked to its last layer: a time without that would be no deploy's. */
async function requireReady(containerd: Containerd, namespace: string, imageName: string, signal: AbortSignal): Promise<void> {
  const ns = containerd.namespace(namespace);
  const tag = imageName.slice(imageName.indexOf("/"));
  const record = (await listImages(ns, [], signal)).find(({ name }) => name.endsWith(tag));
  if (record === undefined) throw new Error(`Cannot find image "${imageName}" in namespace "${namespace}"`);
  const { diffIds } = await readImage(ns, await resolveRunnable(ns, record.target.digest, signal), signal);
  const top = chainIds(diffIds).at(-1);
  if (top === undefined || !(await hasCommittedSnapshot(ns, snapshotter, top, signal))) {
    throw new Error(`Image "${imageName}" in namespace "${namespace}" is not unpacked`);
  }
}

export async function emptyNamespace(containerd: Containerd, namespace: string): Promise<void> {
  const signal = AbortSignal.timeout(300_000);
  await removeNamespace(containerd, namespace, snapshotter, signal);
  await ensureNamespace(containerd, namespace, signal);
}
