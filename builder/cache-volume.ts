import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { instancePaths } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import { writeFileAtomic } from "../config/write-file-atomic.ts";
import { mountImage, removeImage } from "./volume-image.ts";

/**
 * A volume stays as it was begun: within a user namespace overlayfs marks folders that hide others in a way that it does not read outside
 * of one, nor the other way round.
 */
export type CacheVolume = {
  readonly userNamespace: boolean;
  /** it is a file system of its own, of this size; absent: a folder */
  readonly sizeBytes?: number | undefined;
};

const volumeSchema = z.object({ userNamespace: z.boolean(), sizeBytes: z.number().optional() });

/** Beside the volume: out of the builder's reach. */
const recordFile = (settings: Settings, org: string): string => `${instancePaths.builderCache(settings, org)}.json`;

const imageFile = (settings: Settings, org: string): string => `${instancePaths.builderCache(settings, org)}.img`;

/** The org's cache volume, mounted if it is to be; made when there is none. */
export async function ensureCacheVolume(settings: Settings, org: string, signal: AbortSignal): Promise<CacheVolume> {
  const dir = instancePaths.builderCache(settings, org);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const volume = (await findCacheVolume(settings, org)) ?? (await beginCacheVolume(settings, org));
  if (volume.sizeBytes !== undefined) await mountImage(imageFile(settings, org), dir, volume.sizeBytes, signal);
  return volume;
}

async function beginCacheVolume(settings: Settings, org: string): Promise<CacheVolume> {
  const { userNamespace = true, volumeBytes } = settings.builder;
  const volume = { userNamespace, ...(volumeBytes === undefined ? {} : { sizeBytes: volumeBytes }) };
  await recordCacheVolume(settings, org, volume);
  return volume;
}

/** Undefined while nothing is in it: then it can still become one or the other. */
export async function findCacheVolume(settings: Settings, org: string): Promise<CacheVolume | undefined> {
  const text = await readFile(recordFile(settings, org), "utf8").catch(() => undefined);
  if (text !== undefined) return volumeSchema.parse(JSON.parse(text));
  const inside = await readdir(instancePaths.builderCache(settings, org)).catch(() => []);
  return inside.length === 0 ? undefined : { userNamespace: false };
}

export async function recordCacheVolume(settings: Settings, org: string, volume: CacheVolume): Promise<void> {
  await writeFileAtomic(recordFile(settings, org), JSON.stringify(volume));
}

/** Out of the way first: a removal that is killed in the middle leaves no half of a cache to the next builder. */
export async function removeCacheVolume(settings: Settings, org: string, signal: AbortSignal): Promise<void> {
  const dir = instancePaths.builderCache(settings, org);
  await removeImage(imageFile(settings, org), dir, signal);
  const dropped = path.join(path.dirname(dir), `${path.basename(dir)}.dropped`);
  await rm(dropped, { recursive: true, force: true });
  await rename(dir, dropped).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  await rm(recordFile(settings, org), { force: true });
  await rm(dropped, { recursive: true, force: true });
}
