import { apiHostname, imageHostName } from "../../config/mirror-ports.ts";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import { type Certificates, certificatesFromFiles, issuedCertificates } from "./certificates.ts";
import { openLocalCa } from "./local-ca.ts";

type Log = { info(fields: object, message: string): void; error(fields: object, message: string): void };

/** The operator's certificate if the settings name one, else those of the instance's own CA, which is made here if need be. */
export async function openCertificates(settings: Settings, log: Log, signal: AbortSignal): Promise<Certificates> {
  const { tls } = settings.mirror;
  if (tls !== undefined) return await certificatesFromFiles({ ...tls, setting: "mirror.tls" }, log, signal);
  const names = [imageHostName(settings.registry.imageHost), apiHostname];
  const { ipv4Pool, ipv6Pool } = settings.network;
  const scope = { instance: settings.instance, names, networks: [ipv4Pool, ipv6Pool] };
  return issuedCertificates(await openLocalCa(instancePaths.mirrorTls(settings), scope, signal), names, log);
}
