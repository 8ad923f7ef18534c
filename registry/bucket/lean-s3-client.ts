import type { IncomingHttpHeaders } from "node:http";
import type { Readable } from "node:stream";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import type { S3Answer, S3Request } from "./s3-request.ts";
import { type S3Requests, type S3RequestsOptions, createS3Requests, readInTime } from "./s3-requests.ts";

export type LeanS3Options = Omit<S3RequestsOptions, "keys"> & { readonly accessKeyId: string; readonly secretAccessKey: string };

/**
 * The SDK's client, with a short way for the operations that make up nearly all of the registry's work: reading, writing and deleting
 * single objects and parts. All else, and any input that the short way does not know, goes the SDK's own way.
 */
export class LeanS3Client extends S3Client {
  readonly requests: S3Requests;
  /** Every call that goes the short way goes through this: for whoever counts them. */
  around: <T>(operation: string, input: object, act: () => Promise<T>) => Promise<T> = (_operation, _input, act) => act();
  readonly timeouts: Pick<LeanS3Options, "connectionTimeoutMs" | "requestTimeoutMs">;

  constructor(options: LeanS3Options) {
    const { endpoint, region, forcePathStyle, maxAttempts, accessKeyId, secretAccessKey } = options;
    const pool = { keepAlive: true, maxSockets: options.maxSockets };
    super({
      endpoint,
      region,
      forcePathStyle,
      credentials: { accessKeyId, secretAccessKey },
      // only where S3 demands them: each blob is hashed by us
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      maxAttempts,
      requestHandler: {
        connectionTimeout: options.connectionTimeoutMs,
        requestTimeout: options.requestTimeoutMs,
        throwOnRequestTimeout: true,
        httpAgent: pool,
        httpsAgent: pool,
      },
    });
    this.timeouts = options;
    this.requests = createS3Requests({ ...options, keys: async () => this.config.credentials() });
    const sdk = this.send.bind(this) as (...args: unknown[]) => Promise<unknown>;
    const send = (command: unknown, options?: { abortSignal?: AbortSignal }): Promise<unknown> => {
      const request = requestOf(command);
      if (request === undefined) return sdk(command, options);
      const { constructor, input } = command as { constructor: { name: string }; input: object };
      return this.around(constructor.name.replace(/Command$/, ""), input, async () =>
        outputOf(request, await this.requests.send(request, options?.abortSignal), this.timeouts),
      );
    };
    // an overload per command is what the SDK declares
    this.send = send as S3Client["send"];
  }

  override destroy(): void {
    this.requests.close();
    super.destroy();
  }
}

/** Input of a command to the header that carries it. */
const headerOf = { IfMatch: "if-match", IfNoneMatch: "if-none-match", Range: "range", ContentType: "content-type" } as const;

type KnownInput = { readonly [name in keyof typeof headerOf | "Bucket" | "Key" | "UploadId"]?: string } & {
  readonly PartNumber?: number;
  readonly Body?: unknown;
};
const knownInputs: ReadonlySet<string> = new Set([...Object.keys(headerOf), "Bucket", "Key", "UploadId", "PartNumber", "Body"]);

/** Undefined for what the short way does not know. */
export function requestOf(command: unknown): S3Request | undefined {
  const method = methodOf(command);
  if (method === undefined) return undefined;
  const input = (command as { input: KnownInput }).input;
  const { Bucket: bucket, Key: key, UploadId, PartNumber, Body } = input;
  const given = Object.entries(input).filter(([, value]) => value !== undefined);
  if (bucket === undefined || key === undefined || given.some(([name]) => !knownInputs.has(name))) return undefined;
  if (Body !== undefined && !(Body instanceof Uint8Array)) return undefined;
  const headers = given.flatMap(([name, value]) => (name in headerOf ? [[headerOf[name as keyof typeof headerOf], value as string]] : []));
  return {
    method,
    bucket,
    key,
    ...(UploadId === undefined ? {} : { query: { partNumber: String(PartNumber), uploadId: UploadId } }),
    headers: Object.fromEntries(headers) as Record<string, string>,
    ...(method === "PUT" ? { body: Body ?? new Uint8Array() } : {}),
  };
}

function methodOf(command: unknown): S3Request["method"] | undefined {
  if (command instanceof GetObjectCommand) return "GET";
  if (command instanceof HeadObjectCommand) return "HEAD";
  if (command instanceof PutObjectCommand || command instanceof UploadPartCommand) return "PUT";
  return command instanceof DeleteObjectCommand ? "DELETE" : undefined;
}

/** What the SDK's output has of it that we use. */
async function outputOf(
  { method }: S3Request,
  { status, headers, body }: S3Answer,
  { requestTimeoutMs }: Pick<LeanS3Options, "requestTimeoutMs">,
): Promise<object> {
  const output = { ...describe(headers), $metadata: { httpStatusCode: status } };
  if (method === "GET") {
    const transformToByteArray = () => readInTime(body, requestTimeoutMs, () => readAll(body));
    return { ...output, Body: Object.assign(body, { transformToByteArray }) };
  }
  // nothing is read, but the connection is free again only then
  body.resume();
  return output;
}

function describe(headers: IncomingHttpHeaders): object {
  const { etag: ETag, "content-type": ContentType, "content-range": ContentRange, "last-modified": changedAt } = headers;
  const length = headers["content-length"];
  return {
    ...(ETag === undefined ? {} : { ETag }),
    ...(ContentType === undefined ? {} : { ContentType }),
    ...(ContentRange === undefined ? {} : { ContentRange }),
    ...(length === undefined ? {} : { ContentLength: Number(length) }),
    ...(changedAt === undefined ? {} : { LastModified: new Date(changedAt) }),
  };
}

async function readAll(body: Readable): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}
