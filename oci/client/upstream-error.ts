/** What went wrong below HTTP, or before an answer could be believed. */
export type UpstreamFault =
  | "CONNECT_FAILED"
  | "CONNECTION_LOST"
  | "TIMEOUT"
  | "DIGEST_MISMATCH"
  | "ANSWER_INVALID"
  | "REDIRECT_REFUSED"
  | "REALM_REFUSED";

const retryableFaults: ReadonlySet<string> = new Set<UpstreamFault>(["CONNECT_FAILED", "CONNECTION_LOST", "TIMEOUT"]);
const retryableStatuses: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);

export type UpstreamErrorFields = {
  /** an {@link UpstreamFault}, or the error code that the registry's body named, or `HTTP_<status>` */
  readonly code: string;
  readonly status?: number;
  readonly retryAfterMs?: number;
  /** without query or the id of an upload: upload locations and CDN addresses carry signatures there */
  readonly url: string;
  /** what the registry's body said beside, in its own way */
  readonly detail?: unknown;
};

/** A registry did not do what it was asked. `retryable`: the same request may succeed later, not before `retryAfterMs`. */
export class UpstreamError extends Error {
  override readonly name = "UpstreamError";
  readonly code: string;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
  readonly retryable: boolean;
  readonly url: string;
  readonly detail: unknown;

  constructor(message: string, fields: UpstreamErrorFields, options?: ErrorOptions) {
    super(message, options);
    this.code = fields.code;
    this.status = fields.status;
    this.retryAfterMs = fields.retryAfterMs;
    this.url = fields.url;
    this.detail = fields.detail;
    this.retryable = fields.status === undefined ? retryableFaults.has(fields.code) : retryableStatuses.has(fields.status);
  }
}

export function upstreamFault(code: UpstreamFault, url: URL, message: string, cause?: unknown): UpstreamError {
  return new UpstreamError(message, { code, url: withoutQuery(url) }, cause === undefined ? undefined : { cause });
}

export function withoutQuery(url: URL): string {
  return url.origin + shownPath(url);
}

/** The path without what follows `uploads/`: whoever knows an upload's address may write to it, on some registries without a token. */
export function shownPath({ pathname }: URL): string {
  return pathname.replace(/(?<=\/uploads?\/).+$/, "…");
}

/** A `Retry-After` header (RFC 9110, 10.2.3: seconds or a date) in milliseconds from now. */
export function parseRetryAfter(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,8}$/.test(header.trim())) return Number(header) * 1000;
  const atMs = Date.parse(header);
  return Number.isNaN(atMs) ? undefined : Math.max(atMs - nowMs, 0);
}
