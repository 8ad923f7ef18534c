import { createRegistryClient } from "../../config/registry-client.ts";
import type { Settings } from "../../config/settings.ts";
import { baseImageNames, buildBaseImages, type BaseImage, type BaseImageName } from "../../tools/base-images/build-base-images.ts";
import { CliError } from "../errors.ts";
import { requireSettings, type InstanceOptions } from "../instance.ts";
import { printLines, toStdout } from "../output.ts";
import { abortOnSignals } from "./abort-on-signals.ts";
import { progressOf } from "./stack-progress.ts";

export type ImageBasesOptions = InstanceOptions & { readonly quiet?: boolean };

/** Builds base images from packages and puts them into the registry, where ordinary Dockerfiles find them. */
export async function imageBases(names: readonly string[], options: ImageBasesOptions): Promise<number> {
  const wanted = names.length === 0 ? baseImageNames : names.map(parseName);
  const settings = requireSettings(options);
  const images = await ensureBaseImages(settings, wanted, progressOf(options), abortOnSignals().signal);
  printLines(
    toStdout,
    images.flatMap((image) => image.references.map((reference) => `${reference} ${image.manifest.digest}`)),
  );
  return 0;
}

export async function ensureBaseImages(
  settings: Settings,
  names: readonly BaseImageName[],
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<readonly BaseImage[]> {
  using client = createRegistryClient(settings);
  const caBundle = settings.caBundle === undefined ? {} : { caBundle: settings.caBundle };
  return await buildBaseImages({ names, client, progress, signal, ...caBundle });
}

/** `debian:bookworm-slim` means the recipe `debian`, whatever the tag. */
function parseName(text: string): BaseImageName {
  const name = baseImageNames.find((known) => known === text.split(":")[0]);
  if (name !== undefined) return name;
  throw new CliError(`Cannot build base image "${text}": expected one of ${baseImageNames.join(", ")}`);
}
