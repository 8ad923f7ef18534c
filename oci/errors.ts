/**
 * The error codes of OCI distribution-spec 1.1 ("Error Codes"), with the status and the sentence each is answered with; and cases of our
 * own, which a client hears of under the spec's `code` that is nearest, as it allows no others.
 */
export const distributionErrors = {
  BLOB_UNKNOWN: { status: 404, message: "blob unknown to registry" },
  BLOB_UPLOAD_INVALID: { status: 400, message: "blob upload invalid" },
  BLOB_UPLOAD_UNKNOWN: { status: 404, message: "blob upload unknown to registry" },
  DIGEST_INVALID: { status: 400, message: "provided digest did not match uploaded content" },
  MANIFEST_BLOB_UNKNOWN: { status: 404, message: "manifest references a manifest or blob unknown to registry" },
  MANIFEST_INVALID: { status: 400, message: "manifest invalid" },
  MANIFEST_UNKNOWN: { status: 404, message: "manifest unknown to registry" },
  NAME_INVALID: { status: 400, message: "invalid repository name" },
  NAME_UNKNOWN: { status: 404, message: "repository name not known to registry" },
  SIZE_INVALID: { status: 400, message: "provided length did not match content length" },
  UNAUTHORIZED: { status: 401, message: "authentication required" },
  DENIED: { status: 403, message: "requested access to the resource is denied" },
  UNSUPPORTED: { status: 405, message: "the operation is unsupported" },
  TOOMANYREQUESTS: { status: 429, message: "too many requests" },
  /** The spec asks for status 416 without naming a code. */
  RANGE_INVALID: { status: 416, message: "invalid content range", code: "SIZE_INVALID" },
  /** The spec asks for status 413 without naming a code. */
  MANIFEST_TOO_LARGE: { status: 413, message: "manifest too large", code: "MANIFEST_INVALID" },
  /** The spec asks for status 414 without naming a code. */
  TOO_MANY_TAGS: { status: 414, message: "too many tags in one request", code: "MANIFEST_INVALID" },
  /** A bad `n`, which the spec does not speak of. */
  PAGE_INVALID: { status: 400, message: "invalid number of results requested", code: "UNSUPPORTED" },
  /** A condition of the request (RFC 9110, 13) does not hold. */
  PRECONDITION_FAILED: { status: 412, message: "precondition failed", code: "DENIED" },
  /** A path that is none of the API's. */
  NOT_FOUND: { status: 404, message: "no such endpoint", code: "UNSUPPORTED" },
  /** What a tenant may store here is used up. Nothing passes by itself, so no client should send it again: the spec's DENIED, not a 5xx. */
  QUOTA_EXCEEDED: { status: 403, message: "storage quota used up; make room: slipway image prune", code: "DENIED" },
  /**
   * The host's fault, not the client's, and it may pass: 503, which clients send again after Retry-After. 507 would say it better, but
   * clients know it for a failure of no kind and give up.
   */
  DISK_FULL: { status: 503, message: "too little free space on this host's disk; make room: slipway image prune", code: "UNAVAILABLE" },
  /** What we stand on (containerd, S3, upstream) did not answer; the spec names codes only for a client's faults. */
  UNAVAILABLE: { status: 503, message: "storage temporarily unavailable" },
} as const satisfies Record<string, { status: number; message: string; code?: string }>;

export type DistributionErrorCode = keyof typeof distributionErrors;

/** The one error that stores and routes throw for a client's fault or a storage outage; rendered once, in the routes. */
export class DistributionError extends Error {
  override readonly name = "DistributionError";
  readonly code: DistributionErrorCode;
  readonly detail: Readonly<Record<string, unknown>> | undefined;

  constructor(code: DistributionErrorCode, detail?: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    super(distributionErrors[code].message, options);
    this.code = code;
    this.detail = detail;
  }

  get status(): number {
    return distributionErrors[this.code].status;
  }

  /** The body of the answer (distribution-spec, "Error Codes"). */
  toBody(): { errors: [{ code: string; message: string; detail?: unknown }] } {
    const entry: { message: string; code?: string } = distributionErrors[this.code];
    return {
      errors: [{ code: entry.code ?? this.code, message: this.message, ...(this.detail === undefined ? {} : { detail: this.detail }) }],
    };
  }
}
