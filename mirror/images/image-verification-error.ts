/** Why an image of this host may not be started, and what to do about it. */
export const imageVerificationErrors = {
  IMAGE_RECORD_MISSING: "the mirror has no record of this image: its push did not end; build it again",
  DIGEST_MISMATCH: "what is stored is not what was named; build it again",
  CONTENT_MISSING: "a part of the image is not in the content store; push it again",
  SNAPSHOT_MISSING: 'a layer is not unpacked; push the image again, and look for "cannot be unpacked" in the mirror\'s log',
  IMAGE_INVALID: "this is no image that this host can run",
} as const;

export type ImageVerificationCode = keyof typeof imageVerificationErrors;

export class ImageVerificationError extends Error {
  override readonly name = "ImageVerificationError";
  readonly code: ImageVerificationCode;
  readonly detail: Readonly<Record<string, unknown>>;

  constructor(code: ImageVerificationCode, detail: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    const facts = Object.entries(detail).map(([key, value]) => `${key} "${String(value)}"`);
    super(`Cannot verify image: ${facts.join(", ")}: ${imageVerificationErrors[code]}`, options);
    this.code = code;
    this.detail = detail;
  }
}
