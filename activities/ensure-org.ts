import type { Machines } from "../machines/types.ts";
import type { MirrorAdmin } from "../mirror/admin-client.ts";

export type EnsureOrg = (org: string, signal: AbortSignal) => Promise<void>;

/** An org's network is up and the mirror listens in it. Done once for each org and life of this process; a failure is forgotten. */
export function createEnsureOrg({ machines, mirror }: { readonly machines: Machines; readonly mirror: MirrorAdmin }): EnsureOrg {
  const done = new Map<string, Promise<void>>();

  async function ensure(org: string, signal: AbortSignal): Promise<void> {
    const { gatewayIpv4, gatewayIpv6 } = await machines.ensureNetwork(org, signal);
    await mirror.putOrg(org, [gatewayIpv4, gatewayIpv6], signal);
  }

  return async (org, signal) => {
    const earlier = done.get(org);
    if (earlier !== undefined) return await earlier;
    const ensuring = ensure(org, signal);
    done.set(org, ensuring);
    ensuring.catch(() => done.delete(org));
    await ensuring;
  };
}
