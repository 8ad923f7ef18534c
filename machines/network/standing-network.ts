import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, readlink, rm, stat, statfs, writeFile } from "node:fs/promises";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import { writeFileAtomic } from "../../config/write-file-atomic.ts";
import { ProgramError, runProgram } from "../run-program.ts";
import type { IdMapping } from "../id-mapping.ts";
import { hasUserNamespace, type MachinePlan, type OrgNetwork } from "../types.ts";
import { hostPartOf, machineAddresses, type MachineAddresses } from "./address-plan.ts";

type StandingMachine = Pick<MachinePlan, "org" | "id" | "isolation" | "userNamespace">;
type MachineName = { readonly org: string; readonly id: string };

const recordSchema = z.object({
  inodes: z.array(z.number()),
  port: z.string(),
  addresses: z.object({ ipv4: z.string(), ipv6: z.string() }),
});

const recordFile = (settings: Settings, { org, id }: MachineName): string =>
  path.join(instancePaths.machineDir(settings, org, id), "standing-network.json");

/** Where the namespaces of a machine stand; that of its user is there only for a machine that has one. */
export type StandingFiles = { readonly network: string; readonly user?: string };

export function standingFiles(settings: Settings, { org, id }: MachineName): Required<StandingFiles> {
  const network = instancePaths.machineNetwork(settings, org, id);
  return { network, user: `${network}.user` };
}

/**
 * A network namespace that no process holds: it lives as long as it is mounted on its file. Its loopback is up. It belongs to a user
 * namespace with these ids, which stands beside it, as the machine could not mount its sysfs otherwise; without ids, to the host's.
 */
export async function makeStandingNetwork(
  settings: Settings,
  machine: MachineName,
  idMapping: IdMapping | undefined,
  signal: AbortSignal,
): Promise<void> {
  await removeStandingNetwork(settings, machine, signal);
  const { network, user } = standingFiles(settings, machine);
  await mkdir(path.dirname(network), { recursive: true, mode: 0o700 });
  const kinds = idMapping === undefined ? (["net"] as const) : (["net", "user"] as const);
  await using holder = await holdNamespaces(kinds, signal);
  if (idMapping !== undefined) await mapIds(holder.pid, idMapping);
  for (const kind of kinds) {
    const file = kind === "net" ? network : user;
    await writeFile(file, "");
    await runProgram("mount", ["--bind", `/proc/${holder.pid}/ns/${kind}`, file], { signal });
  }
  await runProgram("nsenter", [`--net=${network}`, "ip", "link", "set", "lo", "up"], { signal });
}

/** A process in new namespaces, which waits for its end. */
async function holdNamespaces(
  kinds: readonly ("net" | "user")[],
  signal: AbortSignal,
): Promise<AsyncDisposable & { readonly pid: number }> {
  const child = spawn("unshare", [...kinds.map((kind) => `--${kind}`), "sh", "-c", "echo; read -r _"], {
    stdio: ["pipe", "pipe", "ignore"],
    signal,
  });
  const ended = once(child, "close");
  await Promise.race([once(child.stdout, "data", { signal }), ended]);
  if (child.pid === undefined || child.exitCode !== null) throw new Error(`Cannot make namespaces: "unshare" ended with ${child.exitCode}`);
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await ended;
    },
  };
}

async function mapIds(pid: number, { containerID, hostID, size }: IdMapping): Promise<void> {
  for (const map of ["uid_map", "gid_map"]) await writeFile(`/proc/${pid}/${map}`, `${containerID} ${hostID} ${size}`);
}

/** To be called when the namespace is attached: only what was recorded is found by {@link standsAttached}. */
export async function recordStandingNetwork(
  settings: Settings,
  machine: StandingMachine,
  attached: { readonly port: string; readonly addresses: MachineAddresses },
): Promise<void> {
  await writeFileAtomic(recordFile(settings, machine), JSON.stringify({ ...attached, inodes: await inodesOf(settings, machine) }));
}

/** @throws Error unless a namespace is mounted on each of the machine's files */
async function inodesOf(settings: Settings, machine: StandingMachine): Promise<readonly number[]> {
  const { network, user } = standingFiles(settings, machine);
  const files = hasUserNamespace(machine) ? [network, user] : [network];
  return await Promise.all(
    files.map(async (file) => {
      const [{ type }, { ino }] = await Promise.all([statfs(file), stat(file)]);
      if (type !== nsfsMagic) throw new Error(`Cannot find a namespace at "${file}"`);
      return ino;
    }),
  );
}

/** Whether the namespace is still there and leads to the org's bridge with addresses of its present network. */
export async function standsAttached(settings: Settings, network: OrgNetwork, machine: StandingMachine): Promise<boolean> {
  try {
    const { inodes, port, addresses } = recordSchema.parse(JSON.parse(await readFile(recordFile(settings, machine), "utf8")));
    const [found, bridge] = await Promise.all([inodesOf(settings, machine), readlink(`/sys/class/net/${port}/master`)]);
    return (
      isDeepStrictEqual(found, inodes) &&
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
  for (const file of Object.values(standingFiles(settings, machine))) await unmountNetwork(file, signal);
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
