import { createHash } from "node:crypto";
import { readFile, readdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { deferred } from "../../config/deferred.ts";
import { createKeyedQueue } from "../../config/keyed-queue.ts";
import { writeFileAtomic } from "../../config/write-file-atomic.ts";
import type { Digest } from "../../oci/digest.ts";
import type { UploadMemory } from "../../oci/distribution-client.ts";
import type { Repository } from "../../oci/repository.ts";

/** Registries forget an upload sooner than that. */
const keptMs = 7 * 24 * 3_600_000;

const stateSchema = z.object({ location: z.url() });

/** What is pushed: to which registry, into which repository. */
export type UpstreamBlob = { readonly registryUrl: string; readonly repository: Repository; readonly digest: Digest };

export type UnfinishedUploads = {
  /** Runs `push` alone for this blob: two must not write to one upload. */
  alone<T>(blob: UpstreamBlob, signal: AbortSignal, push: (memory: UploadMemory) => Promise<T>): Promise<T>;
  /** Removes what was never taken up again. */
  sweep(): Promise<void>;
};

/**
 * The places of uploads that a broken link or a killed worker left unfinished, one small file each in a folder of this host. They are
 * not in the workflow's history because some registries put a token into them; locations at another host are not kept at all.
 */
export function createUnfinishedUploads(dir: string): UnfinishedUploads {
  const inTurn = createKeyedQueue();

  function memoryOf(registryUrl: string, file: string): UploadMemory {
    const { origin } = new URL(registryUrl);
    const forget = () => rm(file, { force: true });
    return {
      async recall() {
        // what is torn or foreign counts as absent: the upload is begun anew
        const text = await readFile(file, "utf8").catch(() => "");
        const location = parseLocation(text);
        return location?.origin === origin ? location : undefined;
      },
      async keep(location) {
        if (location.origin !== origin) return forget();
        await writeFileAtomic(file, JSON.stringify({ location: location.href }));
      },
      forget,
    };
  }

  return {
    async alone(blob, signal, push) {
      const file = path.join(dir, `${keyOf(blob)}.json`);
      const turn = inTurn(file, async () => {
        signal.throwIfAborted();
        return await push(memoryOf(blob.registryUrl, file));
      });
      return await untilAborted(turn, signal);
    },
    async sweep() {
      const names = await readdir(dir).catch(() => []);
      for (const name of names) {
        const file = path.join(dir, name);
        const found = await stat(file).catch(() => undefined);
        if (found !== undefined && found.mtimeMs < Date.now() - keptMs) await rm(file, { force: true });
      }
    },
  };
}

function keyOf({ registryUrl, repository, digest }: UpstreamBlob): string {
  return createHash("sha256")
    .update([new URL(registryUrl).origin, repository, digest].join("\n"))
    .digest("hex");
}

function parseLocation(text: string): URL | undefined {
  try {
    return new URL(stateSchema.parse(JSON.parse(text)).location);
  } catch {
    return undefined;
  }
}

/** The turn of another may last for hours: whoever is cancelled does not wait for it. */
async function untilAborted<T>(turn: Promise<T>, signal: AbortSignal): Promise<T> {
  // whoever stopped waiting does not hear how it went
  turn.catch(() => undefined);
  const aborted = deferred<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([turn, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
