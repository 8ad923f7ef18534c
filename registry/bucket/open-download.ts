import type { Readable } from "node:stream";
import { GetObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { downloadDirectly } from "./direct-download.ts";
import { LeanS3Client } from "./lean-s3-client.ts";

export type Download = {
  readonly bucket: string;
  readonly key: string;
  readonly range?: string;
  /** if it is known how long it will be */
  readonly lengthBytes?: number;
};

/** shorter ones are not worth a connection of their own */
const directFromBytes = 1024 * 1024;

/** The bytes of an object, or a range of them, as a stream. @throws what S3 refused it with */
export async function openDownload(
  s3: S3Client,
  { bucket, key, range, lengthBytes = 0 }: Download,
  signal: AbortSignal,
): Promise<Readable> {
  const input = { Bucket: bucket, Key: key, ...(range === undefined ? {} : { Range: range }) };
  if (s3 instanceof LeanS3Client && lengthBytes >= directFromBytes) {
    const signed = await s3.requests.sign({ method: "GET", bucket, key, headers: range === undefined ? {} : { range } });
    const body = await s3.around("GetObject", input, () => downloadDirectly(signed, s3.timeouts, signal));
    if (body !== undefined) return body;
  }
  return (await s3.send(new GetObjectCommand(input), { abortSignal: signal })).Body as Readable;
}
