import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** `slipway_<id>_<secret>`: what a user keeps. The id names the record in the bucket, which holds only a hash of the secret. */
export type DeployToken = { readonly id: string; readonly secret: string };

const shape = /^slipway_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;
const idShape = /^[0-9a-f]{16}$/;

export function isDeployTokenId(text: string): boolean {
  return idShape.test(text);
}

/** 256 bits of secret: nobody finds one by trying, so a plain hash keeps it. */
export function generateDeployToken(): DeployToken {
  return { id: randomBytes(8).toString("hex"), secret: randomBytes(32).toString("base64url") };
}

export function formatDeployToken({ id, secret }: DeployToken): string {
  return `slipway_${id}_${secret}`;
}

export function parseDeployToken(text: string): DeployToken | undefined {
  const [, id, secret] = shape.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

export function hashSecret(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

/** Compares in a time that tells nothing of where they differ. */
export function hasHash(secret: string, sha256: string): boolean {
  const [found, expected] = [Buffer.from(hashSecret(secret), "hex"), Buffer.from(sha256, "hex")];
  return found.length === expected.length && timingSafeEqual(found, expected);
}
