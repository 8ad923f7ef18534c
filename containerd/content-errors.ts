import { type Digest, digestAlgorithm } from "../oci/digest.ts";

/** The bytes are not those that the digest or the size name, or nobody can tell. */
export class ContentMismatchError extends Error {
  override readonly name = "ContentMismatchError";
  readonly found: string;
  constructor(wanted: string, found: string) {
    super(`Cannot commit content: found ${found}, expected ${wanted}`);
    this.found = found;
  }
}

/** This containerd does not hash by the digest's algorithm. */
export class UnsupportedDigestError extends Error {
  override readonly name = "UnsupportedDigestError";
  readonly algorithm: string;
  constructor(digest: Digest) {
    const algorithm = digestAlgorithm(digest);
    super(
      `Cannot commit content: found digest "${digest}", expected one of sha256, as this containerd has no ${algorithm} (2.3 and later have)`,
    );
    this.algorithm = algorithm;
  }
}
