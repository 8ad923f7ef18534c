import type { Settings } from "./settings.ts";

const hourMs = 60 * 60_000;

/** How the registry's garbage is collected where the settings do not say. */
export const defaultGarbageSettings = { graceMs: 24 * hourMs, everyMs: hourMs };

export function garbageSettings({ registry }: Settings): { readonly graceMs: number; readonly everyMs: number } {
  return registry.garbage ?? defaultGarbageSettings;
}
