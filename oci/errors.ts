/** The error codes of OCI distribution-spec 1.1 ("Error Codes"), with the status and the sentence each is answered with. */
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
  /** Not of the spec's list: the spec asks for status 416 without naming a code. */
  RANGE_INVALID: { status: 416, message: "invalid content range" },
  /** Not of the spec's list: the spec asks for status 413 without naming a code. */
  MANIFEST_TOO_LARGE: { status: 413, message: "manifest too large" },
  /** Not of the spec's list; its peers answer a bad `n` with it. */
  PAGINATION_NUMBER_INVALID: { status: 400, message: "invalid number of results requested" },
  /** Not of the spec's list: a path that is none of the API's. */
  NOT_FOUND: { status: 404, message: "no such endpoint" },
  /** Not of the spec's list: what we stand on (containerd, S3, upstream) did not answer. */
  UNAVAILABLE: { status: 503, message: "storage temporarily unavailable" },
} as const satisfies Record<string, { status: number; message: string }>;

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
    return { errors: [{ code: this.code, message: this.message, ...(this.detail === undefined ? {} : { detail: this.detail }) }] };
  }
}
