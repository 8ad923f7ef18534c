import {
  type KeyObject,
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  randomBytes,
} from "node:crypto";

/** SubjectPublicKeyInfo of X25519, in DER */
const publicKeyBytes = 44;
const nonceBytes = 12;
const tagBytes = 16;

/**
 * Text that only the owner of an X25519 key reads, and only for the `purpose` that it was sealed for: a key of its own for each text
 * (ECIES with HKDF-SHA-256 and AES-256-GCM). Answers base64.
 */
export function sealText(recipient: KeyObject, text: string, purpose: string): string {
  const once = generateKeyPairSync("x25519");
  const sender = once.publicKey.export({ type: "spki", format: "der" });
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", deriveKey(once.privateKey, recipient, sender), nonce).setAAD(Buffer.from(purpose));
  const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
  return Buffer.concat([sender, nonce, cipher.getAuthTag(), sealed]).toString("base64");
}

/** @throws Error when it was sealed for another key or purpose, or was changed. */
export function openSealedText(owner: KeyObject, sealedText: string, purpose: string): string {
  const bytes = Buffer.from(sealedText, "base64");
  const sender = bytes.subarray(0, publicKeyBytes);
  const nonce = bytes.subarray(publicKeyBytes, publicKeyBytes + nonceBytes);
  const tag = bytes.subarray(publicKeyBytes + nonceBytes, publicKeyBytes + nonceBytes + tagBytes);
  const from = createPublicKey({ key: sender, type: "spki", format: "der" });
  const decipher = createDecipheriv("aes-256-gcm", deriveKey(owner, from, sender), nonce, { authTagLength: tagBytes })
    .setAAD(Buffer.from(purpose))
    .setAuthTag(tag);
  return Buffer.concat([decipher.update(bytes.subarray(publicKeyBytes + nonceBytes + tagBytes)), decipher.final()]).toString("utf8");
}

function deriveKey(privateKey: KeyObject, publicKey: KeyObject, sender: Buffer): Buffer {
  return Buffer.from(hkdfSync("sha256", diffieHellman({ privateKey, publicKey }), sender, "slipway sealed text", 32));
}
