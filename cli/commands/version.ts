import { readFileSync } from "node:fs";
import { toStdout } from "../output.ts";

/** The version of the package that this file belongs to: the checkout's, or the installed one's. */
export function packageVersion(): string {
  for (const up of ["../..", "../../.."]) {
    const text = readIfPresent(new URL(`${up}/package.json`, import.meta.url));
    const manifest = text === undefined ? undefined : (JSON.parse(text) as { name?: string; version?: string });
    if (manifest?.name === "slipway" && manifest.version !== undefined) return manifest.version;
  }
  return "unknown";
}

/** What `slipway version` and `slipway --version` print. */
export const versionLine = (): string => `slipway ${packageVersion()} (node ${process.version})`;

export function version(): number {
  toStdout(`${versionLine()}\n`);
  return 0;
}

function readIfPresent(url: URL): string | undefined {
  try {
    return readFileSync(url, "utf8");
  } catch {
    return undefined;
  }
}
