import { request } from "node:http";
import type { Digest } from "../oci/digest.ts";
import type { Repository } from "../oci/repository.ts";
import type { OrgState } from "./orgs.ts";
import type { ReadyImage, WantedImage } from "./pull/fetch-image.ts";

export type { OrgState } from "./orgs.ts";

/** The mirror refused, or is not there. `status` is undefined when it did not answer. */
export class MirrorAdminError extends Error {
  override readonly name = "MirrorAdminError";
  readonly status: number | undefined;
  constructor(message: string, status?: number, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

export type TokenScope = { readonly app: string; readonly blob?: Digest | readonly Digest[]; readonly lifetimeMs?: number };
/** `token` is a password; the user's name does not matter. */
export type MintedToken = { readonly token: string; readonly expiresAtMs: number };

/** Every call rejects with {@link MirrorAdminError}, or with the signal's reason. */
export type MirrorAdmin = {
  /** Serves the org's repositories on these gateway addresses; answers once they take connections. Idempotent. */
  putOrg(org: string, addresses: readonly string[], signal: AbortSignal): Promise<OrgState>;
  /** A token for a build of the app: pull and push in its repository, or, with `blob`, reading that blob of it, or those. */
  mintToken(org: string, scope: TokenScope, signal: AbortSignal): Promise<MintedToken>;
  /**
   * Makes an image ready to start from on this host: fetched from other hosts or the durable registry, unpacked and recorded by its
   * digest, or by the tag. Ends with the signal. The error's status is 404 when nobody has it, 422 when no machine can start from it,
   * 403 when the org's quota is used up, 503 for what may pass.
   */
  fetchImage(org: string, image: WantedImage, signal: AbortSignal): Promise<ReadyImage>;
  /** Why builds do not get a source that was uploaded in packs; null when nothing is known against it. */
  sourceFault(
    org: string,
    source: { readonly repository: Repository; readonly digest: Digest },
    signal: AbortSignal,
  ): Promise<{ readonly fault: string | null }>;
  listOrgs(signal: AbortSignal): Promise<readonly OrgState[]>;
  health(signal: AbortSignal): Promise<{ readonly orgs: number }>;
};

export function createMirrorAdmin(socketPath: string): MirrorAdmin {
  const call = <T>(method: string, path: string, body: unknown, signal: AbortSignal): Promise<T> =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const headers = text === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
      const outgoing = request({ socketPath, method, path, headers, signal }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          try {
            resolve(parseAnswer<T>(response.statusCode ?? 0, Buffer.concat(chunks)));
          } catch (error) {
            reject(error as Error);
          }
        });
      });
      outgoing.on("error", (cause) => {
        const reason = `Cannot ask the mirror at "${socketPath}": ${cause.message}; is the process "mirror" running?`;
        reject(signal.aborted ? (signal.reason as Error) : new MirrorAdminError(reason, undefined, { cause }));
      });
      outgoing.end(text);
    });
  return {
    putOrg: (org, addresses, signal) => call("PUT", `/orgs/${encodeURIComponent(org)}`, { addresses }, signal),
    mintToken: (org, scope, signal) => call("POST", `/orgs/${encodeURIComponent(org)}/tokens`, scope, signal),
    fetchImage: (org, image, signal) => call("POST", `/orgs/${encodeURIComponent(org)}/images`, image, signal),
    sourceFault: (org, { repository, digest }, signal) =>
      call("POST", `/orgs/${encodeURIComponent(org)}/source-faults`, { repository, digest }, signal),
    listOrgs: (signal) => call("GET", "/orgs", undefined, signal),
    health: (signal) => call("GET", "/healthz", undefined, signal),
  };
}

function parseAnswer<T>(status: number, bytes: Buffer): T {
  const text = bytes.toString("utf8");
  if (status === 200) return JSON.parse(text) as T;
  let reason = text;
  try {
    reason = (JSON.parse(text) as { error?: string }).error ?? text;
  } catch {
    // not ours, then: shown as it came
  }
  throw new MirrorAdminError(`The mirror answered ${status}: ${reason.slice(0, 500)}`, status);
}
