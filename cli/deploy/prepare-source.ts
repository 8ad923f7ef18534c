import { createRegistryClient } from "../../config/registry-client.ts";
import type { Settings } from "../../config/settings.ts";
import { parseRepository } from "../../oci/repository.ts";
import type { SourceRef } from "../../workflows/types.ts";
import { CliError } from "../errors.ts";
import { sizeOf } from "../render/table.ts";
import { loadIgnorePatterns } from "../source/ignore-file.ts";
import { largestOf } from "../source/largest.ts";
import { listSource, type SourceEntry } from "../source/list-source.ts";
import { packSource, type PackedSource } from "../source/pack.ts";
import { openSourceIndex } from "../source/source-index.ts";
import { uploadSource } from "../source/upload.ts";
import type { Project } from "./project.ts";

const largeContextBytes = 100 * 1024 * 1024;

/** Packs the project's source; says so when it is large. @throws SourceError */
export async function packProject(project: Project, warn: (text: string) => void, signal: AbortSignal): Promise<PackedSource> {
  const { directory } = project;
  const { dockerfile } = project.config.build;
  const ignore = await loadIgnorePatterns(directory, dockerfile, project.ignoreFile);
  const index = await openSourceIndex(directory);
  const entries = await listSource({ directory, ignore, always: new Set([dockerfile]) }, signal);
  warnIfLarge(entries, ignore.file, warn);
  return packSource(directory, entries, index, signal);
}

function warnIfLarge(entries: readonly SourceEntry[], ignoreFile: string | undefined, warn: (text: string) => void): void {
  const totalBytes = entries.reduce((sum, entry) => sum + (entry.kind === "file" ? entry.sizeBytes : 0), 0);
  if (totalBytes <= largeContextBytes) return;
  const largest = largestOf(entries).map(({ path, sizeBytes }) => `"${path}" ${sizeOf(sizeBytes)}`);
  const named = largest.length === 0 ? "" : ` (${largest.join(", ")})`;
  warn(`The source holds ${sizeOf(totalBytes)}${named}; leave out what the build does not need with ${ignoreFile ?? ".dockerignore"}`);
}

/** @throws CliError (exit code 10) when the registry does not take it: nothing was started. */
export async function uploadProject(
  settings: Settings,
  org: string,
  app: string,
  packed: PackedSource,
  signal: AbortSignal,
): Promise<{ source: SourceRef; sentBytes: number }> {
  try {
    using registry = createRegistryClient(settings);
    return await uploadSource(registry, parseRepository(`${org}/${app}`), packed, signal);
  } catch (cause) {
    signal.throwIfAborted();
    throw new CliError(`Cannot upload the source to "${settings.registry.url}": ${(cause as Error).message}; nothing was started`, {
      outcome: { kind: "control plane unreachable" },
      tryCommand: "slipway up",
      cause,
    });
  }
}
