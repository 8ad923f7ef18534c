import { S3Client } from "@aws-sdk/client-s3";
import type { Settings } from "../../config/settings.ts";

/** The S3 client of one process. Checksums only where S3 demands them: each payload is signed, and each blob is hashed by us. */
export function createS3Client(settings: Omit<Settings["s3"], "bucket" | "embeddedDir">): S3Client {
  const { endpoint, region, accessKeyId, secretAccessKey, forcePathStyle } = settings;
  return new S3Client({
    endpoint,
    region,
    forcePathStyle,
    credentials: { accessKeyId, secretAccessKey },
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    maxAttempts: 5,
    requestHandler: {
      connectionTimeout: 5_000,
      // until the answer's headers; a body may be read as slowly as the client likes
      requestTimeout: 60_000,
      throwOnRequestTimeout: true,
      httpAgent: { keepAlive: true, maxSockets: 256 },
      httpsAgent: { keepAlive: true, maxSockets: 256 },
    },
  });
}
