import type { Settings } from "../../config/settings.ts";
import type { RunFilter } from "../control-plane/find-run.ts";
import { appInDirectory } from "../deploy/project.ts";

export type AppOptions = { readonly app?: string; readonly org?: string };

/** The app that a command is about: the one named, else the one whose config is in this directory, else all of the org. */
export function appFilter(settings: Settings, options: AppOptions): RunFilter {
  const app = options.app ?? appInDirectory(process.cwd());
  return { org: options.org ?? settings.defaultOrg, ...(app === undefined ? {} : { app }) };
}
