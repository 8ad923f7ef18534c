import { mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import type { OrgNetwork } from "../types.ts";

/**
 * How long an address that was given back is nobody's: longer than names, kept connections and the kernel's flows of UDP (120 s) lead to
 * the machine that had it.
 */
export const restMs = 180_000;

const restDir = (settings: Settings, { bridge }: OrgNetwork): string => path.join(instancePaths.cniState(settings), `${bridge}.resting`);

/** To be called before the addresses of these host parts are given back. */
export async function beginRest(settings: Settings, network: OrgNetwork, hostParts: Iterable<number>): Promise<void> {
  const dir = restDir(settings, network);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  // the time of the file is the time of the rest
  for (const hostPart of hostParts) await writeFile(path.join(dir, `${hostPart}`), "");
}

/** The host parts that are still to be left alone; forgets those that have rested. */
export async function restingHostParts(settings: Settings, network: OrgNetwork): Promise<ReadonlySet<number>> {
  const dir = restDir(settings, network);
  const resting = new Set<number>();
  for (const file of await readdir(dir).catch(() => [])) {
    const since = await stat(path.join(dir, file)).catch(() => undefined);
    if (since === undefined) continue;
    // a clock that was put back makes none rest for ever
    if (Math.abs(Date.now() - since.mtimeMs) < restMs) resting.add(Number(file));
    else await rm(path.join(dir, file), { force: true });
  }
  return resting;
}
