import type { Digest } from "./digest.ts";

/** OCI image-spec, descriptor.md: what is meant, its exact bytes and its length. */
export type Descriptor = {
  readonly mediaType: string;
  readonly digest: Digest;
  /** bytes */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: { readonly architecture: string; readonly os: string; readonly variant?: string };
};
