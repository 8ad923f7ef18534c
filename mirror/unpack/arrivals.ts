import { orAborted } from "../../config/or-aborted.ts";
import type { Containerd } from "../../containerd/client.ts";
import { readBlob, statBlob } from "../../containerd/content.ts";
import { gcLabels } from "../../containerd/labels.ts";
import { addToLease } from "../../containerd/leases.ts";
import { snapshotterCapabilities } from "../../containerd/snapshots.ts";
import { type AppliedLayer, applyLayer, discardLayer } from "../../containerd/unpack-layer.ts";
import type { LayerSource } from "../../containerd/unpack.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import type { PushSession } from "../store/push-sessions.ts";
import type { ApplyTurns } from "./apply-turns.ts";
import { headBytes, isSameCompression, layerTypeOf } from "./layer-type.ts";
import type { MirrorLog } from "./unpack-pushed.ts";

/** Layers of an org's pushes that are applied before their manifest comes. */
export type Arrivals = LayerSource &
  AsyncDisposable & {
    /**
     * A blob has come in with a push: if it looks like a layer it is applied in the background, alone. It is gone with the pushes that
     * brought it unless `take` gave it away.
     */
    arrived(session: PushSession, blob: Descriptor): void;
  };

export type ArrivalsParts = {
  readonly containerd: Containerd;
  readonly org: string;
  readonly namespace: string;
  readonly snapshotter: string;
  readonly turns: ApplyTurns;
  readonly log: MirrorLog;
};

/** Two images of the most layers; what comes above is applied with its manifest. */
const mostArrivals = 256;

type Arrival = {
  readonly digest: Digest;
  /** leases of the pushes that brought it and are not over */
  readonly leases: Set<string>;
  readonly dropped: AbortController;
  /** undefined when it is no layer, or could not be applied; never rejects */
  applied: Promise<AppliedLayer | undefined>;
  mediaType: string | undefined;
};

export function createArrivals(parts: ArrivalsParts): Arrivals {
  const { containerd, org, namespace, snapshotter, turns, log } = parts;
  const ns = containerd.namespace(namespace);
  const waiting = new Map<Digest, Arrival>();
  const removals = new Set<Promise<void>>();
  let closed = false;

  function begin(session: PushSession, blob: Descriptor): Arrival {
    const arrival: Arrival = {
      digest: blob.digest,
      leases: new Set(),
      dropped: new AbortController(),
      applied: Promise.resolve(undefined),
      mediaType: undefined,
    };
    waiting.set(blob.digest, arrival);
    arrival.applied = apply(arrival, session, blob).catch((error: unknown) => {
      session.spoiled();
      // with the manifest it is tried again, and that answer counts
      if (!arrival.dropped.signal.aborted) log.info({ err: error, namespace, digest: blob.digest }, "layer was not unpacked on arrival");
      return undefined;
    });
    void arrival.applied.then((applied) => {
      if (applied === undefined) forget(arrival);
    });
    return arrival;
  }

  async function apply(arrival: Arrival, session: PushSession, blob: Descriptor): Promise<AppliedLayer | undefined> {
    const { signal } = arrival.dropped;
    if (!(await snapshotterCapabilities(containerd, snapshotter, signal)).has("rebase")) return undefined;
    // once unpacked, most likely its snapshot stands still
    const stat = await statBlob(ns, blob.digest, signal);
    if (stat === undefined || stat.labels[gcLabels.uncompressed] !== undefined) return undefined;
    const mediaType = layerTypeOf(await readHead(blob, signal));
    if (mediaType === undefined) return undefined;
    arrival.mediaType = mediaType;
    const wanted = { snapshotter, layer: { ...blob, mediaType }, over: "nothing" } as const;
    return turns.take(org, signal, (turn) => applyLayer(session.ns, wanted, turn));
  }

  async function readHead({ digest, size }: Descriptor, signal: AbortSignal): Promise<Buffer> {
    if (size === 0) return Buffer.alloc(0);
    return Buffer.concat(await readBlob(ns, digest, { first: 0, last: Math.min(headBytes, size) - 1 }, signal).toArray());
  }

  /** Keeps it for this push too: each push's end lets go of it. */
  function hold(arrival: Arrival, { lease, ended }: PushSession): void {
    if (arrival.leases.has(lease)) return;
    arrival.leases.add(lease);
    const release = (): void => {
      arrival.leases.delete(lease);
      if (arrival.leases.size === 0 && waiting.get(arrival.digest) === arrival) drop(arrival);
    };
    if (ended.aborted) release();
    else ended.addEventListener("abort", release, { once: true });
  }

  async function share(arrival: Arrival, lease: string): Promise<void> {
    const applied = await arrival.applied;
    if (applied !== undefined) await addToLease(ns, lease, { type: `snapshots/${snapshotter}`, id: applied.key }, arrival.dropped.signal);
  }

  function forget(arrival: Arrival): void {
    if (waiting.get(arrival.digest) === arrival) waiting.delete(arrival.digest);
  }

  function drop(arrival: Arrival): void {
    forget(arrival);
    arrival.dropped.abort();
    const removal = arrival.applied.then(async (applied) => {
      if (applied !== undefined) await discardLayer(ns, snapshotter, applied.key);
    });
    removals.add(removal);
    void removal.then(() => removals.delete(removal));
  }

  return {
    arrived(session, blob) {
      if (closed) return;
      const found = waiting.get(blob.digest);
      if (found === undefined && waiting.size >= mostArrivals) return;
      const arrival = found ?? begin(session, blob);
      // without the second lease it would go with the first: then it is applied with the manifest
      if (found !== undefined && !found.leases.has(session.lease)) void share(found, session.lease).catch(() => undefined);
      hold(arrival, session);
    },
    async take({ digest, mediaType }, signal) {
      const arrival = waiting.get(digest);
      if (arrival === undefined) return undefined;
      const applied = await orAborted(arrival.applied, signal);
      if (waiting.get(digest) !== arrival) return undefined;
      if (arrival.mediaType === undefined || !isSameCompression(arrival.mediaType, mediaType)) {
        drop(arrival);
        return undefined;
      }
      forget(arrival);
      return applied;
    },
    inTurn: (signal, task) => turns.take(org, signal, task),
    async [Symbol.asyncDispose]() {
      closed = true;
      for (const arrival of waiting.values()) drop(arrival);
      await Promise.all(removals);
    },
  };
}
