import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, statfs } from "node:fs/promises";
import { release } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import type { Settings } from "../../config/settings.ts";
import { cacheDir } from "../../tools/cache.ts";
import { missingDebianPackages } from "../../tools/debian-packages.ts";
import { findGzipDecompressor } from "../../tools/gzip-decompressor.ts";
import { requireGo } from "../../tools/requirements.ts";
import { isCheckout } from "../entry-point.ts";
import { closedFolders } from "../traversable.ts";
import { requireCgroups } from "./cgroups.ts";
import { check, type CheckRun, requireVersion } from "./check.ts";

const run = promisify(execFile);
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const leastFreeBytes = 5 * 1024 ** 3;

/** What a host must bring along, whether or not Slipway runs on it. */
export function hostChecks(settings: Settings | undefined): CheckRun[] {
  return [
    check("user", "run it as root: sudo slipway …", () => {
      if (process.getuid?.() !== 0) throw new Error(`runs as uid ${process.getuid?.()}, expected root`);
      return "root";
    }),
    check("node", "install Node 20.19 or newer", () => requireVersion(process.versions.node, "20.19.0")),
    check("go", "put Go 1.26 or newer on PATH: https://go.dev/doc/install", requireGo),
    ...(isCheckout ? [check("gRPC types", "npm run generate", grpcTypes)] : []),
    check("Debian packages", "slipway up (installs them)", async (signal) => {
      const missing = await missingDebianPackages([], signal);
      if (missing.length > 0) throw new Error(`missing: ${missing.join(" ")}`);
      return "all installed";
    }),
    check("gzip", "apt-get install isal", async () => {
      return (await findGzipDecompressor()) ?? "containerd's own; igzip (apt-get install isal) decompresses layers more than twice as fast";
    }),
    check("kernel", "boot a kernel of version 5.12 or newer (ID-mapped mounts)", () => requireVersion(release(), "5.12.0")),
    check("folders of the instance", "chmod o+x the folders named", () => machineFolders(settings)),
    check("overlayfs", "modprobe overlay", async () => await requireFilesystem("overlay")),
    check("cgroups", "mount cgroup2 on /sys/fs/cgroup, with all controllers", () => requireCgroups("/sys/fs/cgroup")),
    check("user namespaces", "sysctl -w user.max_user_namespaces=15000", async () => {
      const most = Number(await readFile("/proc/sys/user/max_user_namespaces", "utf8"));
      if (!(most > 0)) throw new Error(`user.max_user_namespaces is ${most}`);
      return `up to ${most}`;
    }),
    check("nftables", "apt-get install nftables, and a kernel with nf_tables", async (signal) => {
      await run("nft", ["list", "tables"], { signal, env });
      return "answers";
    }),
    check("bridges", "modprobe bridge veth", async (signal) => await bridgeSupport(signal)),
    ...[settings?.dataDir ?? "/var/lib", cacheDir()].map((dir) =>
      check(`disk space for "${dir}"`, "free some space, or move the folder to another disk", async () => await freeSpace(dir)),
    ),
  ];
}

async function grpcTypes(): Promise<string> {
  const { requireGrpcTypes } = await import("../../tools/grpc-types/generate.ts");
  await requireGrpcTypes();
  return "of the versions that tools/go.mod pins";
}

/** Undefined settings: the folders are not chosen yet. */
function machineFolders(settings: Settings | undefined): string {
  const folders = settings === undefined ? [] : [settings.dataDir, settings.runDir];
  const closed = folders.flatMap(closedFolders);
  if (closed.length > 0) throw new Error(`other users cannot pass through ${closed.map((folder) => `"${folder}"`).join(", ")}`);
  return "machines reach their files";
}

async function requireFilesystem(name: string): Promise<string> {
  const known = await readFile("/proc/filesystems", "utf8");
  if (!known.split("\n").some((line) => line.split("\t")[1] === name)) throw new Error(`the kernel knows no "${name}"`);
  return "supported";
}

/** By making a bridge in a network namespace that ends with the command: the host's own is not touched. */
async function bridgeSupport(signal: AbortSignal): Promise<string> {
  const script = "ip link add br-probe type bridge && ip link add veth-probe type veth peer name veth-peer";
  await run("unshare", ["--net", "sh", "-c", script], { signal, env });
  return "bridge and veth can be made";
}

async function freeSpace(dir: string): Promise<string> {
  let existing = dir;
  while (!existsSync(existing)) existing = path.dirname(existing);
  const { bavail, bsize } = await statfs(existing);
  const free = `${((Number(bavail) * Number(bsize)) / 1024 ** 3).toFixed(1)} GiB free`;
  if (Number(bavail) * Number(bsize) < leastFreeBytes) throw new Error(`${free}, expected 5 GiB at least`);
  return free;
}
