/** What the gate answers when it does not do what was asked. */
export const gateErrors = {
  UNAUTHORIZED: 401,
  DENIED: 403,
  NOT_FOUND: 404,
  INVALID: 400,
  IN_USE: 409,
  TOO_MANY: 429,
  UNAVAILABLE: 503,
} as const;

export type GateErrorCode = keyof typeof gateErrors;

export class GateError extends Error {
  override readonly name = "GateError";
  readonly code: GateErrorCode;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: GateErrorCode, message: string, options: { readonly retryAfterSeconds?: number; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  get status(): number {
    return gateErrors[this.code];
  }

  get headers(): Readonly<Record<string, string>> {
    return {
      ...(this.code === "UNAUTHORIZED" ? { "www-authenticate": 'Basic realm="slipway"' } : {}),
      ...(this.retryAfterSeconds === undefined ? {} : { "retry-after": String(this.retryAfterSeconds) }),
    };
  }

  toBody(): { readonly error: { readonly code: string; readonly message: string } } {
    return { error: { code: this.code, message: this.message } };
  }
}
