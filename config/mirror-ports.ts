/** Where a machine finds the mirror, whatever the instance's ports and hosts. */
export const apiHostname = "_api.internal";

/** `host:port`, `[address]:port`, or either without a port, as the host part of image names has them. */
const hostAndPort = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/;

/** The host part of an image name without its port. */
export function imageHostName(imageHost: string): string {
  return (hostAndPort.exec(imageHost)?.[1] ?? imageHost).replace(/^\[(.+)\]$/, "$1");
}

/**
 * Where the mirror listens in an org's network: its own port, and wherever a client goes that knows nothing but the name of an image.
 * That is the port in the name, or those of HTTPS and HTTP.
 */
export function mirrorPorts(mirrorPort: number, imageHost: string): readonly number[] {
  const named = hostAndPort.exec(imageHost)?.[2];
  return [...new Set([mirrorPort, ...(named === undefined ? [443, 80] : [Number(named)])])];
}
