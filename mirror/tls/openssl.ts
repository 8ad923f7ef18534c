import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** openssl is not there, or refused what it was asked to make. */
export class OpensslError extends Error {
  override readonly name = "OpensslError";
}

export type CertificateRequest = {
  /** PEM of the key that the certificate is for */
  readonly key: string;
  readonly subject: Readonly<Record<string, string>>;
  /** X.509v3 extensions as in x509v3_config(5); `@section` refers to one of `sections` */
  readonly extensions: Readonly<Record<string, string>>;
  readonly sections?: Readonly<Record<string, readonly (readonly [name: string, value: string])[]>>;
  readonly days: number;
  /** signs it; without one the certificate signs itself */
  readonly issuer?: { readonly certFile: string; readonly keyFile: string };
};

/** Prefix of the folders that hold a key while openssl reads it. */
export const workPrefix = "work-";

/**
 * A certificate in PEM, made by the program `openssl` (3.0 or newer) with files of its own below `dir`, which are gone afterwards.
 * @throws OpensslError with what openssl printed
 */
export async function makeCertificate(dir: string, request: CertificateRequest, signal: AbortSignal): Promise<string> {
  const work = await mkdtemp(path.join(dir, workPrefix));
  try {
    const file = (name: string) => path.join(work, name);
    await writeFile(file("key"), request.key, { mode: 0o600 });
    await writeFile(file("config"), opensslConfig(request));
    const issuer = request.issuer === undefined ? [] : ["-CA", request.issuer.certFile, "-CAkey", request.issuer.keyFile];
    const files = ["-config", file("config"), "-key", file("key"), "-out", file("cert")];
    await runOpenssl(["req", "-x509", "-new", "-sha256", "-days", String(request.days), ...files, ...issuer], signal);
    return await readFile(file("cert"), "utf8");
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function runOpenssl(args: readonly string[], signal: AbortSignal): Promise<void> {
  try {
    await run("openssl", args, { signal, timeout: 20_000 });
  } catch (cause) {
    signal.throwIfAborted();
    const { code, stderr, message } = cause as NodeJS.ErrnoException & { stderr?: string };
    const why = code === "ENOENT" ? "found no openssl; apt-get install openssl" : (stderr || message).trim().slice(0, 1000);
    throw new OpensslError(`Cannot make a certificate: ${why}`, { cause });
  }
}

/** In the syntax of openssl's config(5). */
export function opensslConfig({ subject, extensions, sections = {} }: Pick<CertificateRequest, "subject" | "extensions" | "sections">) {
  const section = (name: string, entries: readonly (readonly [string, string])[]) => [
    `[${name}]`,
    ...entries.map(([key, value]) => `${key} = ${value}`),
  ];
  return [
    ...section("req", [
      ["distinguished_name", "subject"],
      ["prompt", "no"],
      ["x509_extensions", "extensions"],
    ]),
    ...section("subject", Object.entries(subject)),
    ...section("extensions", Object.entries(extensions)),
    ...Object.entries(sections).flatMap(([name, entries]) => section(name, entries)),
    "",
  ].join("\n");
}
