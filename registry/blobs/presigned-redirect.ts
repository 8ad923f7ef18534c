import { BlockList, isIPv6 } from "node:net";
import { GetObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { readLink } from "./links.ts";

export type PresignedRedirectOptions = {
  readonly bucket: Bucket;
  /** signs for the address at which clients reach the bucket */
  readonly signer: S3Client;
  /** networks of clients that do, as `10.0.0.0/8` */
  readonly clients: readonly string[];
  readonly expiresS?: number;
};

/** long enough for a client to begin; a download that has begun goes on */
const defaultExpiresS = 300;

/** Where a client may read a blob's bytes in the bucket itself; undefined for one outside of the networks, and for a blob that is not there. */
export type LocateBlob = (address: string, repository: Repository, digest: Digest, signal: AbortSignal) => Promise<string | undefined>;

export function createPresignedRedirect({ bucket, signer, clients, expiresS = defaultExpiresS }: PresignedRedirectOptions): LocateBlob {
  const networks = toBlockList(clients);
  return async (address, repository, digest, signal) => {
    const plain = address.replace(/^::ffff:(?=\d+\.)/, "");
    if (!networks.check(plain, isIPv6(plain) ? "ipv6" : "ipv4")) return undefined;
    const record = await readLink(bucket, repository, digest, signal);
    if (record === undefined) return undefined;
    const command = new GetObjectCommand({ Bucket: bucket.name, Key: record.key, ResponseContentType: "application/octet-stream" });
    return getSignedUrl(signer, command, { expiresIn: expiresS });
  };
}

function toBlockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address, prefix] = network.split("/");
    list.addSubnet(address!, Number(prefix), isIPv6(address!) ? "ipv6" : "ipv4");
  }
  return list;
}
