import { z } from "zod";
import type { Digest } from "../../oci/digest.ts";
import { digestSchema } from "../../oci/digest-schema.ts";
import { type Repository, isRepository } from "../../oci/repository.ts";

const sizeBytes = z.number().int().nonnegative();
const storedPart = z.object({ number: z.number().int().positive(), etag: z.string(), sizeBytes });
const tail = z.object({ key: z.string(), sizeBytes });

/**
 * All that is known of an upload, in one object of the bucket: whoever can read it can go on with it. It is only ever changed by
 * compare-and-swap, so of two writers one wins and the other hears of it.
 */
export const uploadState = z.object({
  repository: z.custom<Repository>((value) => typeof value === "string" && isRepository(value)),
  /** what the digest will be of, as far as the client said */
  algorithm: z.enum(["sha256", "sha512"]),
  plan: z.object({ sizes: z.enum(["growing", "uniform"]), firstPartBytes: z.number().int().positive() }),
  startedAtMs: z.number(),
  changedAtMs: z.number(),
  /** differs with every change, so that each has an ETag of its own */
  revision: z.string(),
  /** open: takes bytes. finishing: its bytes are being published as `digest`. ended: whatever it left is being removed */
  phase: z.enum(["open", "finishing", "ended"]),
  digest: digestSchema.optional(),
  multipart: z.object({ key: z.string(), uploadId: z.string() }).optional(),
  /** in order; their numbers may have gaps */
  parts: z.array(storedPart),
  /** whoever wrote this last may have sent parts up to this number; the next one begins above it */
  reservedParts: z.number().int().nonnegative(),
  /** the instance that takes a body in at the moment, or that died while it did */
  claim: z.object({ instance: z.string() }).optional(),
  /** bytes after the last part, in an object of their own; without parts they are the whole blob so far */
  tail: tail.optional(),
});

export type UploadState = z.infer<typeof uploadState>;
export type StoredPart = z.infer<typeof storedPart>;
export type StoredTail = z.infer<typeof tail>;
export type Multipart = NonNullable<UploadState["multipart"]>;

/** When and as which revision a change is written. */
export type Stamp = { readonly atMs: number; readonly revision: string };

export function receivedBytes({ parts, tail: rest }: UploadState): number {
  return parts.reduce((sum, part) => sum + part.sizeBytes, rest?.sizeBytes ?? 0);
}

export function startUpload(given: Pick<UploadState, "repository" | "algorithm" | "plan">, stamp: Stamp): UploadState {
  return changed({ ...given, startedAtMs: stamp.atMs, phase: "open", parts: [], reservedParts: 0 }, stamp);
}

/** Before parts are sent: from now on only `instance` sends any, and none above `upToPart`. Parts it has stored so far are counted in. */
export function claimParts(
  state: UploadState,
  claim: { readonly instance: string; readonly multipart: Multipart; readonly upToPart: number; readonly stored: readonly StoredPart[] },
  stamp: Stamp,
): UploadState {
  const { instance, multipart, upToPart, stored } = claim;
  return changed({ ...withParts(state, stored), multipart, reservedParts: upToPart, claim: { instance } }, stamp);
}

/**
 * After a body, whole or cut off: `stored` are the parts that it became, `rest` what came after the last of them. `lastSentPart` when
 * all that was sent is stored for certain: then the numbers above it were reserved in vain and may be used.
 */
export function settleBody(
  state: UploadState,
  body: { readonly stored: readonly StoredPart[]; readonly rest: StoredTail | undefined; readonly lastSentPart: number | undefined },
  stamp: Stamp,
): UploadState {
  const { claim: _released, ...settled } = withParts(state, body.stored);
  const reservedParts = body.lastSentPart ?? state.reservedParts;
  return changed({ ...settled, reservedParts, ...(body.rest === undefined ? {} : { tail: body.rest }) }, stamp);
}

export function beginFinish(state: UploadState, digest: Digest, stamp: Stamp): UploadState {
  return changed({ ...state, phase: "finishing", digest }, stamp);
}

export function endUpload(state: UploadState, stamp: Stamp): UploadState {
  return changed({ ...state, phase: "ended" }, stamp);
}

/** The first part that was sent began with the tail. */
function withParts(state: UploadState, stored: readonly StoredPart[]): UploadState {
  if (stored.length === 0) return state;
  const { tail: _sent, ...rest } = state;
  return { ...rest, parts: [...state.parts, ...stored] };
}

function changed(state: Omit<UploadState, "changedAtMs" | "revision">, { atMs, revision }: Stamp): UploadState {
  return { ...state, changedAtMs: atMs, revision };
}
