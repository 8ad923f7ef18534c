import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { runCommand } from "../run-command.ts";

export type NpmPin = { readonly name: string; readonly version: string; readonly integrity: string };

/** Fetches a package as the user's npm is configured to, and unpacks it. @throws Error when its bytes are not the pinned ones. */
export async function fetchNpmPackage(pin: NpmPin, folder: string, signal: AbortSignal): Promise<string> {
  await mkdir(folder, { recursive: true });
  const spec = `${pin.name}@${pin.version}`;
  const output = await runCommand(["npm", "pack", spec, "--json", "--silent", "--pack-destination", folder], { cwd: folder, signal });
  const archive = path.join(folder, `${pin.name}-${pin.version}.tgz`);
  const found = `sha512-${createHash("sha512")
    .update(await readFile(archive).catch(() => output))
    .digest("base64")}`;
  if (found !== pin.integrity) throw new Error(`Cannot trust "${spec}": expected ${pin.integrity}, found ${found}`);
  await runCommand(["tar", "-xzf", archive, "-C", folder, "--no-same-owner"], { signal });
  return path.join(folder, "package");
}
