import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** A key and a certificate that signs itself, for 127.0.0.1 and a day: whoever trusts it trusts the server. */
export async function makeSelfSigned({ certFile, keyFile }: { readonly certFile: string; readonly keyFile: string }): Promise<void> {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", keyFile];
  const subject = ["-days", "1", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"];
  await promisify(execFile)("openssl", ["req", "-x509", ...key, "-out", certFile, ...subject]);
}
