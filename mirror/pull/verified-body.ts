import { createHash } from "node:crypto";
import { type Readable, Transform, pipeline } from "node:stream";
import { type Digest, digestAlgorithm, digestEncoded } from "../../oci/digest.ts";

/** What a source sent is not what was asked for. */
export class WrongContentError extends Error {
  override readonly name = "WrongContentError";
}

/**
 * The same bytes, hashed on their way. The last of them are held back until the hash is known, so that a reader of a wrong body
 * never gets all it was promised and cannot take it for whole.
 */
export function verifiedBody(body: Readable, digest: Digest): Readable {
  const hash = createHash(digestAlgorithm(digest));
  let held: Buffer | undefined;
  const verified = new Transform({
    readableHighWaterMark: 256 * 1024,
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      const before = held;
      held = chunk;
      done(null, before);
    },
    flush(done) {
      const found = hash.digest("hex");
      if (found === digestEncoded(digest)) return done(null, held);
      done(new WrongContentError(`Cannot pass on blob: upstream sent "${found}", expected "${digest}"`));
    },
  });
  // each of the two ends the other at once, also while nothing comes; the reader hears of it from what it reads
  pipeline(body, verified, () => undefined);
  return verified;
}
