import { X509Certificate } from "node:crypto";
import { keepCertificateFresh } from "../../config/tls/keep-certificate-fresh.ts";
import { type TlsFiles, type TlsPair, readTlsPair } from "../../config/tls/tls-files.ts";
import type { LocalCa } from "./local-ca.ts";

/** What clients that speak TLS are shown. */
export type Certificates = {
  /** The pair for connections to `address` that is good now. Cheap, unless one has to be issued. */
  pairFor(address: string): Promise<TlsPair>;
};

type Log = { info(fields: object, message: string): void; error(fields: object, message: string): void };

/** Issued for this long, and anew when less than a third is left. */
const leafDays = 90;
const renewLeftMs = 30 * 24 * 3_600_000;
/** After a failure the old one is shown this long before the next try. */
const retryMs = 60_000;
const issueTimeoutMs = 20_000;

type Issued = { readonly pair: TlsPair; readonly validToMs: number; renewAtMs: number };

/**
 * Certificates of the instance's own CA, one for each address that is connected to over TLS: for `names` and that address. Issued when
 * the first client comes, renewed when one comes at whose time little is left; so nothing has to be watched, and nothing restarted.
 */
export function issuedCertificates(ca: LocalCa, names: readonly string[], log: Log, nowMs: () => number = Date.now): Certificates {
  const issued = new Map<string, Issued>();
  const underWay = new Map<string, Promise<TlsPair>>();

  async function issue(address: string): Promise<TlsPair> {
    const before = issued.get(address);
    try {
      const pair = await ca.issue([...names, address], leafDays, AbortSignal.timeout(issueTimeoutMs));
      const validToMs = Date.parse(new X509Certificate(pair.cert).validTo);
      issued.set(address, { pair, validToMs, renewAtMs: validToMs - renewLeftMs });
      log.info({ address, validTo: new Date(validToMs).toISOString() }, "issued a certificate");
      return pair;
    } catch (error) {
      if (before === undefined || nowMs() > before.validToMs) throw error;
      before.renewAtMs = nowMs() + retryMs;
      log.error({ err: error, address }, "keeping the old certificate");
      return before.pair;
    }
  }

  return {
    async pairFor(address) {
      const found = issued.get(address);
      if (found !== undefined && nowMs() < found.renewAtMs) return found.pair;
      const issuing = underWay.get(address) ?? issue(address).finally(() => underWay.delete(address));
      underWay.set(address, issuing);
      return await issuing;
    },
  };
}

/** The operator's own pair, for every address; read anew while `signal` is not aborted. @throws TlsError when it cannot be used now */
export async function certificatesFromFiles(files: TlsFiles, log: Log, signal: AbortSignal): Promise<Certificates> {
  let current = await readTlsPair(files, signal);
  const setSecureContext = (found: { cert?: unknown; key?: unknown }) => void (current = found as TlsPair);
  void keepCertificateFresh({ setSecureContext }, files, current, log, signal);
  return { pairFor: async () => current };
}
