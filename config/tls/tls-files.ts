import { X509Certificate, createPrivateKey } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";

/** `setting` is where in the settings they are named, for messages; `registry.tls` unless told. */
export type TlsFiles = { readonly certFile: string; readonly keyFile: string; readonly setting?: string };
export type TlsPair = { readonly cert: Buffer; readonly key: Buffer };

/** A certificate and its key cannot be used. */
export class TlsError extends Error {
  override readonly name = "TlsError";
}

/** Reads a certificate (with its chain) and its key, in PEM. @throws TlsError naming the file, and what is wrong with it. */
export async function readTlsPair({ certFile, keyFile, setting = "registry.tls" }: TlsFiles, signal: AbortSignal): Promise<TlsPair> {
  const [cert, key] = [await readPem(`${setting}.certFile`, certFile, signal), await readPem(`${setting}.keyFile`, keyFile, signal)];
  const certificate = tryTo(() => new X509Certificate(cert), `${setting}.certFile "${certFile}" holds no certificate in PEM`);
  const privateKey = tryTo(() => createPrivateKey(key), `${setting}.keyFile "${keyFile}" holds no unencrypted private key in PEM`);
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new TlsError(`Cannot serve HTTPS: the key in "${keyFile}" is not that of the first certificate in "${certFile}"`);
  }
  tryTo(() => createSecureContext({ cert, key }), `"${certFile}" and "${keyFile}" cannot be used together`);
  return { cert, key };
}

async function readPem(setting: string, file: string, signal: AbortSignal): Promise<Buffer> {
  try {
    return await readFile(file, { signal });
  } catch (cause) {
    signal.throwIfAborted();
    throw new TlsError(`Cannot serve HTTPS: cannot read ${setting} "${file}": ${(cause as Error).message}`, { cause });
  }
}

function tryTo<T>(act: () => T, failure: string): T {
  try {
    return act();
  } catch (cause) {
    throw new TlsError(`Cannot serve HTTPS: ${failure}: ${(cause as Error).message}`, { cause });
  }
}
