import { readFile } from "node:fs/promises";
import path from "node:path";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import { writeFileAtomic } from "../../config/write-file-atomic.ts";
import type { MachineAddresses } from "./address-plan.ts";

const addressFile = (settings: Settings, org: string, id: string) =>
  path.join(instancePaths.machineDir(settings, org, id), "addresses.json");

export async function writeAddresses(settings: Settings, org: string, id: string, addresses: MachineAddresses): Promise<void> {
  await writeFileAtomic(addressFile(settings, org, id), JSON.stringify(addresses));
}

/** Those a machine has, or had when it was stopped; undefined when there is no such machine. */
export async function readAddresses(settings: Settings, org: string, id: string): Promise<MachineAddresses | undefined> {
  const text = await readFile(addressFile(settings, org, id), "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as MachineAddresses);
}
