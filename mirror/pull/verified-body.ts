import { createHash } from "node:crypto";
import { Readable } from "node:stream";
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
  async function* hashed(): AsyncGenerator<Buffer> {
    const hash = createHash(digestAlgorithm(digest));
    let held: Buffer | undefined;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      if (chunk.length === 0) continue;
      hash.update(chunk);
      if (held !== undefined) yield held;
      held = chunk;
    }
    const found = hash.digest("hex");
    if (found !== digestEncoded(digest)) throw new WrongContentError(`Cannot pass on blob: upstream sent "${found}", expected "${digest}"`);
    if (held !== undefined) yield held;
  }
  const verified = Readable.from(hashed(), { objectMode: false, highWaterMark: 256 * 1024 });
  verified.once("close", () => body.destroy());
  return verified;
}
