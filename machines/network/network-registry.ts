import { readFile } from "node:fs/promises";
import { z } from "zod";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import type { OrgNetwork } from "../types.ts";
import { writeFileAtomic } from "../../config/write-file-atomic.ts";
import { maxOrgs, orgNetwork } from "./address-plan.ts";

const fileSchema = z.strictObject({ orgs: z.record(z.string(), z.number().int().nonnegative()) });

/** Which place each org has in this instance's pools. An org keeps its place for good: addresses of it may be remembered elsewhere. */
export type NetworkRegistry = { readonly orgs: Readonly<Record<string, number>> };

export async function readNetworkRegistry(settings: Settings): Promise<NetworkRegistry> {
  const text = await readFile(instancePaths.networks(settings), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  return text === undefined ? { orgs: {} } : fileSchema.parse(JSON.parse(text));
}

/** The registry with a place for `org`; the same object when it has one. */
export function withOrg(registry: NetworkRegistry, org: string): NetworkRegistry {
  if (registry.orgs[org] !== undefined) return registry;
  const taken = new Set(Object.values(registry.orgs));
  for (let index = 0; index < maxOrgs; index++) {
    if (!taken.has(index)) return { orgs: { ...registry.orgs, [org]: index } };
  }
  throw new RangeError(`Cannot plan the network of org "${org}": this host is full, it holds ${maxOrgs} orgs`);
}

/** Only the host worker writes this file; within it, calls come one after another. */
export async function writeNetworkRegistry(settings: Settings, registry: NetworkRegistry): Promise<void> {
  await writeFileAtomic(instancePaths.networks(settings), `${JSON.stringify(registry, null, 2)}\n`);
}

export function networksOf(settings: Settings, registry: NetworkRegistry): readonly OrgNetwork[] {
  return Object.entries(registry.orgs).map(([org, index]) => orgNetwork(settings.network, settings.instance, org, index));
}
