import { readFileSync } from "node:fs";
import type { Containerd } from "./client.ts";

const standardFile = "/etc/containerd/config.toml";

/** The configuration file of a containerd on this host, as its command line names it; else the one it reads when none is named. */
export async function configFileOf(containerd: Containerd, signal: AbortSignal): Promise<string> {
  try {
    const { pid } = await containerd.introspection.server({}, { signal });
    return configArgument(readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")) ?? standardFile;
  } catch {
    // it may be in another pid namespace, or too old to tell
    return standardFile;
  }
}

/** `--config FILE`, `--config=FILE`, `-c FILE`. */
export function configArgument(argv: readonly string[]): string | undefined {
  for (const [index, argument] of argv.entries()) {
    const joined = /^--?(?:config|c)=(.+)$/.exec(argument)?.[1];
    if (joined !== undefined) return joined;
    if (/^--?(?:config|c)$/.test(argument)) return argv[index + 1];
  }
  return undefined;
}
