import { createHash } from "node:crypto";

declare const digestBrand: unique symbol;

/** A content digest, `algorithm:encoded` (OCI image-spec, descriptor.md#digests). Parsed once at the edge by {@link parseDigest}. */
export type Digest = string & { readonly [digestBrand]: true };

const encodedLength = { sha256: 64, sha512: 128 } as const;
export type DigestAlgorithm = keyof typeof encodedLength;

const shape = /^(sha256|sha512):([a-f0-9]+)$/;

export function isDigestAlgorithm(text: string): text is DigestAlgorithm {
  return Object.hasOwn(encodedLength, text);
}

export function isDigest(text: string): text is Digest {
  const match = shape.exec(text);
  return match !== null && match[2]!.length === encodedLength[match[1] as DigestAlgorithm];
}

/** @throws SyntaxError naming the text and the expected form. */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new SyntaxError(`Cannot parse digest "${text.slice(0, 160)}": expected sha256:<64 hex> or sha512:<128 hex>`);
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.slice(0, 6) as DigestAlgorithm;
}

/** The part after the colon. */
export function digestEncoded(digest: Digest): string {
  return digest.slice(7);
}

export function digestOf(bytes: Uint8Array | string, algorithm: DigestAlgorithm = "sha256"): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}` as Digest;
}

/** Twelve hex characters, for people; never for looking anything up. */
export function shortDigest(digest: Digest): string {
  return digestEncoded(digest).slice(0, 12);
}
