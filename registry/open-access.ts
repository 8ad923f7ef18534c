import type { S3Client } from "@aws-sdk/client-s3";
import type { Settings } from "../config/settings.ts";
import type { RegistryAppOptions } from "./app.ts";
import { createRegistryAuth } from "./auth/registry-auth.ts";
import { createPresignedRedirect } from "./blobs/presigned-redirect.ts";
import { createBucket } from "./bucket/bucket.ts";
import { createS3Client } from "./bucket/s3-client.ts";
import { createLocationRecords } from "./locations/location-records.ts";
import { TlsError, readTlsPair } from "../config/tls/tls-files.ts";

/**
 * How the registry is reached, as its settings have it: with tokens, over HTTPS, and from the bucket itself.
 * @throws TlsError for a certificate that cannot be used.
 */
export async function openAccess(
  { registry, s3: s3Settings }: Pick<Settings, "registry" | "s3">,
  s3: S3Client,
  signal: AbortSignal,
): Promise<Pick<RegistryAppOptions, "auth" | "tls" | "locateBlob" | "locations">> {
  const { auth, tls, redirect, url, systemToken } = registry;
  if (tls !== undefined && !url.startsWith("https:")) {
    throw new TlsError(
      `Cannot serve HTTPS: registry.url is "${url}", expected one that begins with https:, as clients are sent there for tokens`,
    );
  }
  const bucket = createBucket({ s3, bucket: s3Settings.bucket });
  return {
    ...(auth === "tokens" ? { auth: createRegistryAuth({ bucket, url, ...(systemToken === undefined ? {} : { systemToken }) }) } : {}),
    ...(systemToken === undefined ? {} : { locations: { records: createLocationRecords(bucket), systemToken } }),
    ...(tls === undefined ? {} : { tls: await readTlsPair(tls, signal) }),
    ...(redirect === undefined ? {} : { locateBlob: createPresignedRedirect({ bucket, ...redirectOf(redirect, s3Settings, s3) }) }),
  };
}

function redirectOf(
  { clients, endpoint, expiresS }: NonNullable<Settings["registry"]["redirect"]>,
  s3Settings: Settings["s3"],
  s3: S3Client,
) {
  // only signs: it never opens a connection
  const signer = endpoint === undefined ? s3 : createS3Client({ ...s3Settings, endpoint });
  return { signer, clients, ...(expiresS === undefined ? {} : { expiresS }) };
}
