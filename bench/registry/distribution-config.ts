import type { S3Access } from "./s3-access.ts";

/** CNCF distribution over S3 as its documentation has it, with its in-memory cache of blob descriptors; blobs go through it, not by redirect. */
export function distributionConfig({ port, bucket, s3 }: { port: number; bucket: string; s3: S3Access }): string {
  return JSON.stringify({
    version: 0.1,
    log: { level: "error", accesslog: { disabled: true } },
    storage: {
      s3: {
        region: s3.region,
        bucket,
        accesskey: s3.accessKeyId,
        secretkey: s3.secretAccessKey,
        regionendpoint: s3.endpoint,
        forcepathstyle: true,
        secure: false,
      },
      cache: { blobdescriptor: "inmemory" },
      delete: { enabled: true },
      redirect: { disable: true },
    },
    http: { addr: `127.0.0.1:${port}`, secret: "bench" },
  });
}
