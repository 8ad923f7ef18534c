import { orgNamespace } from "../../config/paths.ts";
import type { Containerd } from "../../containerd/client.ts";
import type { DistributionStore } from "../../oci/store.ts";
import { type ImageFetchParts, type ReadyImage, type WantedImage, fetchImage } from "../pull/fetch-image.ts";
import { createBlobStore } from "./blob-store.ts";
import type { Intake } from "./intake.ts";
import { type Copies, createCopies } from "./copies.ts";
import { createDeletes } from "./deletion.ts";
import { type FetchedContent, createFetchedContent } from "./fetched-content.ts";
import { createManifestStore } from "./manifest-store.ts";
import { createPushSessions } from "./push-sessions.ts";
import { createReferrerStore } from "./referrers.ts";
import { createRepositoryTurns } from "./repository-turns.ts";
import { type ApplyTurns, createApplyTurns } from "../unpack/apply-turns.ts";
import { createArrivals } from "../unpack/arrivals.ts";
import { type MirrorLog, createUnpacker } from "../unpack/unpack-pushed.ts";
import type { ManifestStoreParts } from "./write-manifest.ts";
import { type UploadTimes, createUploadStore } from "./upload-store.ts";

export type ContainerdStoreOptions = {
  readonly containerd: Containerd;
  readonly org: string;
  /** the host part of image names, as machines know them */
  readonly imageHost: string;
  readonly snapshotter: string;
  readonly log: MirrorLog;
  /** a push without an open upload or a next request lets its lease go after this time */
  readonly pushIdleMs?: number;
  readonly uploads?: UploadTimes;
  /** shared by all orgs of a mirror; absent: turns of its own */
  readonly applyTurns?: ApplyTurns;
  /** what uploads ask before they take in more; absent: there is always room */
  readonly intake?: Intake;
  /** hears of each manifest that is in, with all beneath it */
  readonly recorded?: NonNullable<ManifestStoreParts["recorded"]>;
};

export type ContainerdStore = DistributionStore &
  AsyncDisposable & {
    /** where what is fetched from upstream comes in */
    readonly fetched: FetchedContent;
    /** what was pulled of other registries */
    readonly copies: Copies;
    /** Makes an image ready here from `durable`. @throws as `fetchImage`. */
    fetchImage(durable: ImageFetchParts["durable"], wanted: WantedImage, signal: AbortSignal): Promise<ReadyImage>;
  };

/**
 * The Distribution store of one org over its containerd namespace, which must exist. Its end aborts every upload, removes
 * what was unpacked for no image, and deletes the leases of pushes that are not in yet.
 */
export function createContainerdStore(options: ContainerdStoreOptions): ContainerdStore {
  const { containerd, org, pushIdleMs } = options;
  const namespace = orgNamespace(org);
  const ns = containerd.namespace(namespace);
  const sessions = createPushSessions(containerd, namespace, pushIdleMs === undefined ? {} : { idleMs: pushIdleMs });
  const arrivals = createArrivals({ ...options, namespace, turns: options.applyTurns ?? createApplyTurns() });
  const limits = options.intake === undefined ? {} : { intake: options.intake };
  const uploads = createUploadStore(
    { org, sessions, arrived: (session, blob) => arrivals.arrived(session, blob), ...limits },
    options.uploads,
  );
  const parts = { ...options, ns, sessions, turns: createRepositoryTurns() };
  const manifestParts = { ...parts, unpacker: createUnpacker({ ...options, arrivals }) };
  const fetched = createFetchedContent({ ...manifestParts, ...limits, arrived: (session, blob) => arrivals.arrived(session, blob) });
  const local = { blobs: createBlobStore(parts), manifests: createManifestStore(manifestParts) };
  return {
    ...local,
    uploads,
    fetched,
    copies: createCopies({ ...parts, ...limits }),
    fetchImage: (durable, wanted, signal) => fetchImage({ ...manifestParts, fetched, local, durable }, wanted, signal),
    referrers: createReferrerStore(parts),
    deletes: createDeletes(parts),
    async [Symbol.asyncDispose]() {
      await uploads[Symbol.asyncDispose]();
      await fetched[Symbol.asyncDispose]();
      await arrivals[Symbol.asyncDispose]();
      await sessions[Symbol.asyncDispose]();
    },
  };
}
