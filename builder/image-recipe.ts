import { readFile, stat } from "node:fs/promises";
import path from "node:path";
import { instancePaths } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import { digestEncoded, digestOf } from "../oci/digest.ts";
import { mirrorName } from "./names.ts";
import { type RootfsEntry, builderRootfs } from "./rootfs.ts";

export type ImageRecipe = {
  readonly entries: readonly RootfsEntry[];
  /** names the image by all that goes into it, so that looking for it needs no file read but the CA bundle */
  readonly key: string;
};

/** Changes when what `image.ts` makes of the same entries changes. */
const recipeVersion = 1;

const hostBundle = "/etc/ssl/certs/ca-certificates.crt";
const busybox = "/bin/busybox";

const remembered = new WeakMap<Settings, { readonly stamp: string; readonly recipe: ImageRecipe }>();

/**
 * What the builder's image is made of on this host; read anew when a file of it has changed.
 * @throws Error naming the missing file and how to get it.
 */
export async function imageRecipe(settings: Settings, signal: AbortSignal): Promise<ImageRecipe> {
  const stamp = await stampOf([
    path.join(settings.tools.binDir, "buildkitd"),
    path.join(settings.tools.binDir, "runc"),
    busybox,
    ...casOf(settings),
  ]);
  const known = remembered.get(settings);
  if (known?.stamp === stamp) return known.recipe;
  const recipe = await makeRecipe(settings, signal);
  remembered.set(settings, { stamp, recipe });
  return recipe;
}

async function stampOf(files: readonly string[]): Promise<string> {
  const found = await Promise.all(files.map((file) => stat(file).catch(() => undefined)));
  return JSON.stringify(found.map((each) => (each === undefined ? [] : [each.size, each.mtimeMs, each.ctimeMs, each.ino])));
}

async function makeRecipe(settings: Settings, signal: AbortSignal): Promise<ImageRecipe> {
  const { frontends, entitlements } = settings.builder;
  const entries = builderRootfs({
    buildkitd: path.join(settings.tools.binDir, "buildkitd"),
    runc: path.join(settings.tools.binDir, "runc"),
    busybox,
    caBundle: await trustedCas(settings, signal),
    caForSteps: settings.caBundle !== undefined,
    imageHost: settings.registry.imageHost,
    mirror: mirrorName(settings),
    maxParallelism: Math.max(2, Math.round(settings.builder.cpus * 2)),
    ...cacheBound(settings.builder),
    allowance: { frontends, entitlements },
  });
  const parts = await Promise.all(entries.map(identify));
  return { entries, key: digestEncoded(digestOf(JSON.stringify([recipeVersion, parts]))).slice(0, 32) };
}

/** A volume of a fixed size keeps a fifth for what a build that runs takes. */
function cacheBound({ cacheBytes, volumeBytes }: Settings["builder"]): { cacheBytes?: number } {
  if (volumeBytes === undefined) return cacheBytes === undefined ? {} : { cacheBytes };
  return { cacheBytes: Math.min(cacheBytes ?? Infinity, Math.round(volumeBytes * 0.8)) };
}

/** The host's own CAs, those of the setting, and the mirror's: a client of a build that knows of no `http = true` reaches it over HTTPS. */
async function trustedCas(settings: Settings, signal: AbortSignal): Promise<string> {
  const texts = await Promise.all(casOf(settings).map((file) => readCas(file, file === settings.caBundle, signal)));
  return texts.join("\n");
}

function casOf(settings: Settings): readonly string[] {
  const { caBundle, mirror } = settings;
  const ofMirror = mirror.tls === undefined ? [instancePaths.mirrorCa(settings)] : [];
  return [...new Set([hostBundle, ...(caBundle === undefined ? [] : [caBundle]), ...ofMirror])];
}

async function readCas(file: string, required: boolean, signal: AbortSignal): Promise<string> {
  try {
    return await readFile(file, { encoding: "utf8", signal });
  } catch (cause) {
    signal.throwIfAborted();
    if (!required) return "";
    throw new Error(`Cannot read the CA bundle "${file}": ${(cause as Error).message}; correct caBundle in the settings`, { cause });
  }
}

async function identify(entry: RootfsEntry): Promise<unknown> {
  if (entry.type !== "file") return entry;
  try {
    const { size, mtimeMs, ino } = await stat(entry.source);
    return { ...entry, size, mtimeMs, ino };
  } catch (cause) {
    const remedy = entry.source === busybox ? "apt-get install busybox-static" : "slipway up installs it";
    throw new Error(`Cannot make the builder's image: found no "${entry.source}"; ${remedy}`, { cause });
  }
}
