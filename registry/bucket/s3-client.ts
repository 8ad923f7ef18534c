import type { S3Client } from "@aws-sdk/client-s3";
import type { Settings } from "../../config/settings.ts";
import { LeanS3Client } from "./lean-s3-client.ts";

/** The S3 client of one process. */
export function createS3Client(settings: Omit<Settings["s3"], "bucket" | "embeddedDir">): S3Client {
  return new LeanS3Client({ ...settings, maxAttempts: 5, connectionTimeoutMs: 5_000, requestTimeoutMs: 60_000, maxSockets: 256 });
}
