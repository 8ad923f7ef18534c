import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { apiHostname, imageHostName } from "../../config/mirror-ports.ts";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import type { SpecMount } from "../oci-spec.ts";
import { hostnameOf } from "../spec.ts";
import type { MachinePlan, OrgNetwork } from "../types.ts";

/** Where a machine finds the CA of the mirror's certificate, when that is the instance's own. */
export const mirrorCaPath = "/etc/slipway/ca.pem";

/** Writes /etc/hosts, /etc/resolv.conf, /etc/hostname and the mirror's CA for a machine and answers their mounts. */
export async function writeNameFiles(settings: Settings, network: OrgNetwork, plan: MachinePlan): Promise<readonly SpecMount[]> {
  const dir = instancePaths.machineDir(settings, plan.org, plan.id);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const files: Record<string, string> = {
    "/etc/hosts": hostsFile(settings.registry.imageHost, network, plan),
    "/etc/resolv.conf": resolvConf(network),
    "/etc/hostname": `${hostnameOf(plan.id)}\n`,
  };
  const ca = await mirrorCa(settings);
  if (ca !== undefined) files[mirrorCaPath] = ca;
  const mounts: SpecMount[] = [];
  for (const [destination, text] of Object.entries(files)) {
    const source = path.join(dir, path.basename(destination));
    await writeFile(source, text, { mode: 0o644 });
    mounts.push({ destination, type: "bind", source, options: ["bind", "ro", "nosuid", "nodev", "noexec"] });
  }
  return mounts;
}

/** The mirror made it before it served anybody; undefined where there is no mirror, or one with the operator's certificate. */
async function mirrorCa(settings: Settings): Promise<string | undefined> {
  if (settings.mirror.tls !== undefined) return undefined;
  return await readFile(instancePaths.mirrorCa(settings), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}

/**
 * The mirror's names stand here, too, so that pushes and pulls need no resolver. The machine's own name leads to its own loopback: its
 * address is not known before its network namespace is.
 */
export function hostsFile(imageHost: string, network: OrgNetwork, plan: Pick<MachinePlan, "id" | "hosts">): string {
  const mirrorNames = [...new Set([apiHostname, imageHostName(imageHost)])].join(" ");
  return [
    "127.0.0.1 localhost",
    "::1 localhost ip6-localhost ip6-loopback",
    `127.0.1.1 ${hostnameOf(plan.id)}`,
    `${network.gatewayIpv4} ${mirrorNames}`,
    `${network.gatewayIpv6} ${mirrorNames}`,
    ...plan.hosts.map(({ name, address }) => `${address} ${name}`),
    "",
  ].join("\n");
}

/**
 * Its org's resolver and no other: musl asks all at once and believes the first, and those of the host know none of the org's names. Who
 * is not answered, because the resolver is just being started again, asks anew.
 */
export function resolvConf({ gatewayIpv4 }: Pick<OrgNetwork, "gatewayIpv4">): string {
  return `nameserver ${gatewayIpv4}\noptions timeout:3 attempts:3\n`;
}
