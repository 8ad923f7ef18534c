import { X509Certificate, createHash, createPrivateKey, generateKeyPairSync } from "node:crypto";
import { mkdir, readFile, readdir, rm } from "node:fs/promises";
import { isIP } from "node:net";
import path from "node:path";
import type { TlsPair } from "../../config/tls/tls-files.ts";
import { writeFileAtomic } from "../../config/write-file-atomic.ts";
import { makeCertificate, workPrefix } from "./openssl.ts";

/** All that the CA may ever sign for: whoever trusts it trusts it for nothing else. */
export type CaScope = {
  readonly instance: string;
  /** DNS names or addresses */
  readonly names: readonly string[];
  /** networks in CIDR */
  readonly networks: readonly string[];
};

export type LocalCa = {
  readonly certFile: string;
  /** A certificate for these names and addresses, which must be in the CA's scope, with a key of its own. */
  issue(names: readonly string[], days: number, signal: AbortSignal): Promise<TlsPair>;
};

const caDays = 3650;
/** A CA with less than this left is replaced by a new one: certificates are issued for far less. */
const leastLeftMs = 365 * 24 * 3_600_000;

/**
 * The instance's own CA, made when there is none in `dir`, when its scope is another one by now, or when it ends within a year.
 * Its key never leaves the folder. @throws OpensslError
 */
export async function openLocalCa(dir: string, scope: CaScope, signal: AbortSignal): Promise<LocalCa> {
  const files = { certFile: path.join(dir, "ca.pem"), keyFile: path.join(dir, "ca.key") };
  await mkdir(dir, { recursive: true, mode: 0o700 });
  for (const name of await readdir(dir)) if (name.startsWith(workPrefix)) await rm(path.join(dir, name), { recursive: true, force: true });
  if (!(await isUsable(files, scope))) await makeCa(dir, files, scope, signal);
  return {
    certFile: files.certFile,
    async issue(names, days, issueSignal) {
      if (!(await isUsable(files, scope))) await makeCa(dir, files, scope, issueSignal);
      const key = newKey();
      const request = { key, days, issuer: files, ...leafProfile(names) };
      return { cert: Buffer.from(await makeCertificate(dir, request, issueSignal)), key: Buffer.from(key) };
    },
  };
}

type CaFiles = { readonly certFile: string; readonly keyFile: string };

async function isUsable({ certFile, keyFile }: CaFiles, scope: CaScope): Promise<boolean> {
  try {
    const certificate = new X509Certificate(await readFile(certFile));
    const fits = certificate.subject.split("\n").includes(`OU=${scopeKey(scope)}`);
    const leftMs = Date.parse(certificate.validTo) - Date.now();
    return fits && leftMs > leastLeftMs && certificate.checkPrivateKey(createPrivateKey(await readFile(keyFile)));
  } catch {
    return false;
  }
}

/** The key first: a certificate without its key is found unusable, and made anew. */
async function makeCa(dir: string, { certFile, keyFile }: CaFiles, scope: CaScope, signal: AbortSignal): Promise<void> {
  const key = newKey();
  const cert = await makeCertificate(dir, { key, days: caDays, ...caProfile(scope) }, signal);
  await writeFileAtomic(keyFile, key);
  await writeFileAtomic(certFile, cert);
}

const newKey = (): string =>
  generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }).toString();

/** In the subject, so that a CA says by itself what it is good for. */
const scopeKey = ({ names, networks }: CaScope): string =>
  createHash("sha256")
    .update(JSON.stringify([names, networks]))
    .digest("hex")
    .slice(0, 16);

/** RFC 5280, 4.2.1.10: names outside of the constraints make a certificate invalid, whoever signed it with this key. */
export function caProfile(scope: CaScope) {
  const permitted = [...scope.names.map(constraintOf), ...scope.networks.map((network) => ["IP", networkWithMask(network)] as const)];
  return {
    subject: { O: "Slipway", OU: scopeKey(scope), CN: `Slipway ${scope.instance} mirror` },
    extensions: {
      basicConstraints: "critical,CA:TRUE,pathlen:0",
      keyUsage: "critical,keyCertSign,cRLSign",
      subjectKeyIdentifier: "hash",
      nameConstraints: "critical,@permitted",
    },
    sections: { permitted: permitted.map(([kind, value], at) => [`permitted;${kind}.${at}`, value] as const) },
  };
}

function leafProfile(names: readonly string[]) {
  return {
    subject: { CN: names[0]!.slice(0, 64) },
    extensions: {
      basicConstraints: "critical,CA:FALSE",
      keyUsage: "critical,digitalSignature",
      extendedKeyUsage: "serverAuth",
      authorityKeyIdentifier: "keyid",
      subjectAltName: "@names",
    },
    sections: { names: [...new Set(names)].map((name, at) => [`${isIP(name) === 0 ? "DNS" : "IP"}.${at}`, name] as const) },
  };
}

function constraintOf(name: string): readonly [string, string] {
  const family = isIP(name);
  return family === 0 ? ["DNS", name] : ["IP", networkWithMask(`${name}/${family === 4 ? 32 : 128}`)];
}

/** `10.64.0.0/16` as openssl wants it, with the mask as an address. */
function networkWithMask(cidr: string): string {
  const [address, prefix] = cidr.split("/") as [string, string];
  const isIpv4 = isIP(address) === 4;
  const bits = "1".repeat(Number(prefix)).padEnd(isIpv4 ? 32 : 128, "0");
  const groups = bits.match(isIpv4 ? /.{8}/g : /.{16}/g)!.map((group) => Number.parseInt(group, 2));
  return `${address}/${isIpv4 ? groups.join(".") : groups.map((group) => group.toString(16)).join(":")}`;
}
