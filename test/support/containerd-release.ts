import path from "node:path";
import { type ContainerdOptions, containerdConfig } from "../../stack/engines.ts";

/** The releases that the mirror works with: that of the stack, and the one that distributions and clusters still have. */
export type ContainerdRelease = "2.4" | "1.7";

/** sha512 content came with 2.3, a parent that is given at commit (`rebase`) with 2.2. */
export const isOldContainerd = (release: ContainerdRelease): boolean => release === "1.7";

export function containerdCommand(release: ContainerdRelease, binDir: string): string {
  return path.join(binDir, release === "1.7" ? "containerd-1.7" : "containerd");
}

/** The stack's configuration; the plugins that it sets have the same names in both. */
export function containerdConfigOf(release: ContainerdRelease, options: ContainerdOptions): string {
  const config = containerdConfig(options);
  if (release !== "1.7") return config;
  if (!config.includes("version = 3")) throw new Error("the containerd configuration does not say version = 3");
  return config.replace("version = 3", "version = 2");
}
