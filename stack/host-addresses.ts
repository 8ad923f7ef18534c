import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { z } from "zod";

const run = promisify(execFile);

const linksSchema = z.array(
  z.object({ ifname: z.string().optional(), addr_info: z.array(z.object({ local: z.string().optional() })).optional() }),
);

export type HostAddress = { readonly link: string; readonly address: string };

/** Every IPv4 address of this network namespace, also of links without carrier, which `os.networkInterfaces` leaves out. */
export async function hostAddresses(signal: AbortSignal): Promise<HostAddress[]> {
  const { stdout } = await run("ip", ["-j", "-4", "address"], {
    signal,
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  return linksSchema
    .parse(JSON.parse(stdout))
    .flatMap(({ ifname = "", addr_info: list = [] }) => list.map(({ local = "" }) => ({ link: ifname, address: local })));
}

/** @param pool a /16 */
export function isInPool(address: string, pool: string): boolean {
  return address.startsWith(pool.slice(0, pool.indexOf(".0.0/") + 1));
}
