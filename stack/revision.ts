import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { codeDir } from "./entry-point.ts";
import { containerdConfig } from "./engines.ts";
import type { ProcessSpec } from "./process-spec.ts";
import { containerdOptions } from "./processes.ts";
import { fingerprint } from "./supervisor-state.ts";
import type { Settings } from "../config/settings.ts";

export type Revisions = (spec: ProcessSpec) => string;

/** What a process runs beside its arguments: a change of it means that the process has to be replaced. */
export function revisionsOf(settings: Settings): Revisions {
  const own = fingerprint([codeRevision(), settings]);
  const containerd = fingerprint(containerdConfig(containerdOptions(settings)));
  return ({ name, env }) => (env.SLIPWAY_SETTINGS === undefined ? (name === "containerd" ? containerd : "") : own);
}

const codeFolders = [
  "activities",
  "builder",
  "config",
  "containerd",
  "machines",
  "mirror",
  "oci",
  "proto",
  "registry",
  "workers",
  "workflows",
];

/** The version, and in the checkout the newest change of a source file. */
function codeRevision(): string {
  const manifest = [codeDir, path.dirname(codeDir)].map((dir) => path.join(dir, "package.json")).find((file) => isFile(file));
  const version = manifest === undefined ? "" : readFileSync(manifest, "utf8");
  return fingerprint([version, Math.max(...codeFolders.map((folder) => newestChangeMs(path.join(codeDir, folder))))]);
}

function newestChangeMs(dir: string): number {
  let newest = 0;
  for (const entry of readdirSync(dir, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) newest = Math.max(newest, statSync(path.join(entry.parentPath, entry.name)).mtimeMs);
  }
  return newest;
}

function isFile(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}
