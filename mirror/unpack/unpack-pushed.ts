import type { Containerd } from "../../containerd/client.ts";
import { isRunnable, readImage, readManifest, selectPlatform } from "../../containerd/image.ts";
import { createKeyedQueue } from "../../config/keyed-queue.ts";
import { type LayerSource, unpackImage } from "../../containerd/unpack.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Manifest } from "../../oci/manifest.ts";
import type { PushSession } from "../store/push-sessions.ts";
import { isDiskFull, isLeaseGone, isOutage } from "../store/storage-error.ts";

/** The part of a pino logger that the mirror uses. */
export type MirrorLog = {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
};

export type UnpackerParts = {
  readonly containerd: Containerd;
  readonly snapshotter: string;
  readonly log: MirrorLog;
  readonly arrivals: LayerSource;
};

export type Unpacker = {
  /**
   * Unpacks what was pushed, so that a machine can start the moment the push ends. Artifacts, attestations and images of other platforms
   * are stored and no more. A layer that cannot be unpacked, or unpacks to something else than its config says, is a sound push of an
   * image that no machine may start from: verification refuses it. @throws DistributionError when the disk has no room.
   */
  unpackPushed(session: PushSession, manifest: Manifest, descriptor: Descriptor, signal: AbortSignal): Promise<void>;
};

export function createUnpacker({ containerd, snapshotter, log, arrivals }: UnpackerParts): Unpacker {
  // the same image twice at once is applied once
  const turns = createKeyedQueue();
  return {
    async unpackPushed(session, manifest, descriptor, signal) {
      const { namespace } = session.ns;
      for (let isLast = false; ; isLast = true) {
        try {
          const digest = await runnableDigest(session, manifest, descriptor, signal);
          if (digest === undefined) return;
          const options = { snapshotter, lease: session.lease, signal, layers: arrivals };
          await turns(digest, () => unpackImage(containerd, namespace, digest, options));
          return;
        } catch (error) {
          if (signal.aborted || isPassing(error)) throw error;
          // a call that was under way when containerd ended looks the same, but only once
          if (isOutage(error) && !isLast) continue;
          log.warn({ err: error, namespace, digest: descriptor.digest }, "pushed image cannot be unpacked");
          return;
        }
      }
    },
  };
}

async function runnableDigest(
  session: PushSession,
  manifest: Manifest,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<Digest | undefined> {
  if (manifest.kind === "index") {
    const selected = selectPlatform(manifest.manifests);
    if (selected === undefined) return undefined;
    return isRunnable(await readManifest(session.ns, selected.digest, signal)) ? selected.digest : undefined;
  }
  if (!isRunnable(manifest)) return undefined;
  const { platform } = await readImage(session.ns, descriptor.digest, signal);
  const ours = selectPlatform([{ ...descriptor, platform }]) !== undefined;
  return ours ? descriptor.digest : undefined;
}

/** containerd says UNKNOWN for a layer that is no archive, so only what surely passes is the client's to retry; a full disk may. */
function isPassing(error: unknown): boolean {
  if (isDiskFull(error) || isLeaseGone(error)) return true;
  if (error instanceof DistributionError) return error.status >= 429;
  return isOutage(error) && !/UNKNOWN|INTERNAL/.test((error as Error).message);
}
