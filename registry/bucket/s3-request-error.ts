import type { S3Answer, S3Request } from "./s3-request.ts";

/** S3's refusal, of the shape that the SDK gives its own: `name` is the error code. */
export class S3RequestError extends Error {
  readonly $metadata: { readonly httpStatusCode: number };
  /** what S3 takes for now */
  readonly serverTimeMs?: number;

  constructor(code: string, status: number, message: string, serverTimeMs?: number) {
    super(message);
    this.name = code;
    this.$metadata = { httpStatusCode: status };
    if (serverTimeMs !== undefined) this.serverTimeMs = serverTimeMs;
  }
}

const longestErrorBytes = 64 * 1024;

export async function readS3Error({ status, headers, body }: S3Answer, { method, key }: S3Request): Promise<S3RequestError> {
  let text = "";
  for await (const chunk of body as AsyncIterable<Buffer>) {
    text += chunk.toString("latin1");
    if (text.length > longestErrorBytes) break;
  }
  const field = (name: string) => new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1];
  // the answer to HEAD has no body to say it
  const code = field("Code") ?? (status === 404 ? "NotFound" : `Status${status}`);
  const date = Date.parse(headers.date ?? "");
  const message = `S3 refused ${method} ${key}: ${status} ${code} ${field("Message") ?? ""}`.trimEnd();
  return new S3RequestError(code, status, message, Number.isNaN(date) ? undefined : date);
}
