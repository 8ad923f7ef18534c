import type { IncomingHttpHeaders, IncomingMessage } from "node:http";

export type S3Request = {
  readonly method: "GET" | "HEAD" | "PUT" | "DELETE";
  readonly bucket: string;
  readonly key: string;
  readonly query?: Readonly<Record<string, string>>;
  /** lower-case names */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
};

export type S3Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: IncomingMessage };
