import type { Server } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { type TlsFiles, type TlsPair, readTlsPair } from "./tls-files.ts";

export const tlsVersions = { minVersion: "TLSv1.2" } as const;

type Log = { info(fields: object, message: string): void; error(fields: object, message: string): void };

/** what renews certificates swaps links or writes in place: the content is what counts, and reading it is cheap */
const lookEveryMs = 2_000;

/**
 * New connections get the certificate that is in the files now, from seconds after it changed. A pair that cannot be used changes
 * nothing: the old one stays, and the log says why, once. Ends when `signal` is aborted.
 */
export async function keepCertificateFresh(
  server: Pick<Server, "setSecureContext">,
  files: TlsFiles,
  inUse: TlsPair,
  log: Log,
  signal: AbortSignal,
  everyMs = lookEveryMs,
): Promise<void> {
  let current = inUse;
  let told: string | undefined;
  for (;;) {
    await sleep(everyMs, undefined, { signal, ref: false }).catch(() => {});
    if (signal.aborted) return;
    try {
      const found = await readTlsPair(files, signal);
      told = undefined;
      if (found.cert.equals(current.cert) && found.key.equals(current.key)) continue;
      server.setSecureContext({ ...found, ...tlsVersions });
      current = found;
      log.info({ certFile: files.certFile }, "took the new certificate");
    } catch (error) {
      const { message } = error as Error;
      if (signal.aborted || message === told) continue;
      told = message;
      log.error({ err: error }, "keeping the old certificate");
    }
  }
}
