import { type Hash, createHash, randomBytes, randomFillSync } from "node:crypto";

/** A blob of incompressible bytes: the chunks of a shared base over and over, then a few of its own, so that it costs nothing to make. */
export type Layer = { readonly digest: string; readonly sizeBytes: number; chunks(): Generator<Buffer> };

const chunkBytes = 1024 * 1024;
const nonceBytes = 32;

/** Makes layers of one size, each with a digest that no other has. */
export function createLayers(sizeBytes: number): () => Layer {
  const base = randomFillSync(Buffer.allocUnsafeSlow(Math.min(sizeBytes - nonceBytes, 32 * chunkBytes)));
  const hash: Hash = createHash("sha256");
  for (const chunk of repeated(base, sizeBytes - nonceBytes)) hash.update(chunk);
  return () => {
    const nonce = randomBytes(nonceBytes);
    return {
      sizeBytes,
      digest: `sha256:${hash.copy().update(nonce).digest("hex")}`,
      chunks: function* () {
        yield* repeated(base, sizeBytes - nonceBytes);
        yield nonce;
      },
    };
  };
}

/** A blob out of bytes that are there. */
export function layerOf(bytes: Buffer): Layer {
  return {
    sizeBytes: bytes.length,
    digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}`,
    chunks: function* () {
      yield bytes;
    },
  };
}

function* repeated(base: Buffer, sizeBytes: number): Generator<Buffer> {
  for (let sent = 0; sent < sizeBytes;) {
    const from = sent % base.length;
    const chunk = base.subarray(from, Math.min(from + chunkBytes, base.length, from + sizeBytes - sent));
    sent += chunk.length;
    yield chunk;
  }
}
