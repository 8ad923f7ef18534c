import { once } from "node:events";
import type { Readable } from "node:stream";
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import type { S3Access } from "./s3-access.ts";
import { inParallel } from "./in-parallel.ts";
import type { Layer } from "./layers.ts";

const Bucket = "ceiling";
const partChunks = 16;
const partsAtOnce = 4;

/** What the AWS SDK alone reaches on this S3 server, in this process, with nothing in between. Seconds up and down. */
export async function s3Ceiling(s3: S3Access, layers: readonly Layer[], parallel: number): Promise<{ upS: number; downS: number }> {
  const { endpoint, region, ...credentials } = s3;
  const client = new S3Client({
    endpoint,
    region,
    credentials,
    forcePathStyle: true,
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
  try {
    await client.send(new CreateBucketCommand({ Bucket })).catch(() => undefined);
    const upStartedAt = performance.now();
    await inParallel(parallel, layers, (layer) => upload(client, layer));
    const downStartedAt = performance.now();
    await inParallel(parallel, layers, async ({ digest }) => {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: digest }));
      const body = Body as Readable;
      body.resume();
      await once(body, "end");
    });
    return { upS: (downStartedAt - upStartedAt) / 1000, downS: (performance.now() - downStartedAt) / 1000 };
  } finally {
    client.destroy();
  }
}

async function upload(client: S3Client, layer: Layer): Promise<void> {
  const target = { Bucket, Key: layer.digest };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(target));
  const chunks = [...layer.chunks()];
  const numbers = Array.from({ length: Math.ceil(chunks.length / partChunks) }, (_, index) => index + 1);
  const Parts: { PartNumber: number; ETag: string | undefined }[] = [];
  await inParallel(partsAtOnce, numbers, async (PartNumber) => {
    const Body = Buffer.concat(chunks.slice((PartNumber - 1) * partChunks, PartNumber * partChunks));
    const { ETag } = await client.send(new UploadPartCommand({ ...target, UploadId, PartNumber, Body }));
    Parts[PartNumber - 1] = { PartNumber, ETag };
  });
  await client.send(new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } }));
}
