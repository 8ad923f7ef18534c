import { mkdir, readFile, readlink, rm, stat, statfs, writeFile } from "node:fs/promises";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import { writeFileAtomic } from "../../config/write-file-atomic.ts";
import { ProgramError, runProgram } from "../run-program.ts";
import type { OrgNetwork } from "../types.ts";
import { hostPartOf, machineAddresses, type MachineAddresses } from "./address-plan.ts";

type MachineName = { readonly org: string; readonly id: string };

const recordSchema = z.object({ inode: z.number(), port: z.string(), addresses: z.object({ ipv4: z.string(), ipv6: z.string() }) });

const recordFile = (settings: Settings, { org, id }: MachineName): string =>
  path.join(instancePaths.machineDir(settings, org, id), "standing-network.json");

/** A network namespace that no process holds: it lives as long as it is mounted on the file whose path is answered. Its loopback is up. */
export async function makeStandingNetwork(settings: Settings, machine: MachineName, signal: AbortSignal): Promise<string> {
  await removeStandingNetwork(settings, machine, signal);
  const file = instancePaths.machineNetwork(settings, machine.org, machine.id);
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(file, "");
  await runProgram("unshare", [`--net=${file}`, "ip", "link", "set", "lo", "up"], { signal });
  return file;
}

/** To be called when the namespace is attached: only what was recorded is found by {@link standsAttached}. */
export async function recordStandingNetwork(
  settings: Settings,
  machine: MachineName,
  attached: { readonly port: string; readonly addresses: MachineAddresses },
): Promise<void> {
  const { ino } = await stat(instancePaths.machineNetwork(settings, machine.org, machine.id));
  await writeFileAtomic(recordFile(settings, machine), JSON.stringify({ ...attached, inode: ino }));
}

/** Whether the namespace is still there and leads to the org's bridge with addresses of its present network. */
export async function standsAttached(settings: Settings, network: OrgNetwork, machine: MachineName): Promise<boolean> {
  try {
    const file = instancePaths.machineNetwork(settings, machine.org, machine.id);
    const { inode, port, addresses } = recordSchema.parse(JSON.parse(await readFile(recordFile(settings, machine), "utf8")));
    const [{ type }, { ino }, bridge] = await Promise.all([statfs(file), stat(file), readlink(`/sys/class/net/${port}/master`)]);
    return (
      type === nsfsMagic &&
      ino === inode &&
      path.basename(bridge) === network.bridge &&
      isDeepStrictEqual(machineAddresses(network, hostPartOf(addresses)), addresses)
    );
  } catch {
    return false;
  }
}

/** linux/magic.h */
const nsfsMagic = 0x6e736673;

/** The namespace goes with its last process; without one, at once, and its port of the bridge with it. */
export async function removeStandingNetwork(settings: Settings, machine: MachineName, signal: AbortSignal): Promise<void> {
  await rm(recordFile(settings, machine), { force: true });
  await unmountNetwork(instancePaths.machineNetwork(settings, machine.org, machine.id), signal);
}

export async function unmountNetwork(file: string, signal: AbortSignal): Promise<void> {
  const type = await statfs(file).then(
    (found) => found.type,
    () => undefined,
  );
  if (type === undefined) return;
  if (type === nsfsMagic) await runProgram("umount", ["--lazy", file], { signal }).catch(unlessNotMounted);
  await rm(file, { force: true });
}

function unlessNotMounted(error: unknown): void {
  if (!(error instanceof ProgramError && /not mounted|no mount point/i.test(error.stderr))) throw error;
}
