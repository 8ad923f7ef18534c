import { expect } from "vitest";
import { listLeases } from "../../containerd/leases.ts";
import type { ScratchNamespace } from "./scratch-namespace.ts";
import type { TestImage } from "./test-image.ts";

/** containerd has all of the image. */
export async function expectEveryByte({ ns }: ScratchNamespace, image: TestImage, signal: AbortSignal): Promise<void> {
  for (const { bytes, descriptor } of [image.manifest, image.config, ...image.layers]) {
    const parts: Uint8Array[] = [];
    for await (const { data } of ns.content.read({ digest: descriptor.digest }, { signal })) parts.push(data);
    expect(Buffer.concat(parts).equals(bytes)).toBe(true);
  }
}

/** No push or fetch has left anything on its way. */
export async function expectNothingLeft({ ns }: ScratchNamespace, signal: AbortSignal): Promise<void> {
  const leases = (await listLeases(ns, signal)).map(({ id }) => id);
  const ingests = (await ns.content.listStatuses({}, { signal })).statuses.map(({ ref }) => ref);
  const active: string[] = [];
  for await (const { info } of ns.snapshots.list({ snapshotter: "overlayfs" }, { signal })) {
    active.push(...info.map(({ name }) => name).filter((name) => name.startsWith("extract-")));
  }
  expect({ leases, ingests, active }).toEqual({ leases: [], ingests: [], active: [] });
}
