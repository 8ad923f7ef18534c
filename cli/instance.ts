import { existsSync } from "node:fs";
import { instancePaths } from "../config/paths.ts";
import { loadSettings, type Settings } from "../config/settings.ts";
import { CliError } from "./errors.ts";

export type InstanceOptions = { readonly dataDir?: string };

/** Where an instance lives when nothing else is said. */
export function dataDirOf(options: InstanceOptions): string {
  return options.dataDir || process.env.SLIPWAY_DATA || "/var/lib/slipway";
}

/** The folder for a part that has a default of its own. */
export const dataDirOption = (options: InstanceOptions): { dataDir?: string } =>
  options.dataDir === undefined ? {} : { dataDir: options.dataDir };

/** The settings of the instance on this machine, or undefined before the first `slipway up`. */
export function findSettings(options: InstanceOptions): Settings | undefined {
  const file = options.dataDir ? undefined : process.env.SLIPWAY_SETTINGS;
  if (file) return loadSettings(file);
  const fallback = instancePaths.settings(dataDirOf(options));
  return existsSync(fallback) ? loadSettings(fallback) : undefined;
}

/** @throws CliError that says how to make an instance. */
export function requireSettings(options: InstanceOptions): Settings {
  const settings = findSettings(options);
  if (settings !== undefined) return settings;
  throw new CliError(`Cannot find an instance in "${dataDirOf(options)}"`, {
    outcome: { kind: "control plane unreachable" },
    tryCommand: "slipway up",
  });
}
