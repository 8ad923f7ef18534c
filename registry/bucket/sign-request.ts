import { createHash, createHmac } from "node:crypto";

export type SigningKeys = { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string };

export type RequestToSign = {
  readonly method: string;
  readonly host: string;
  /** as it is sent: `encodePath` */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  /** lower-case names; all of them are signed */
  readonly headers: Readonly<Record<string, string>>;
  /** hex SHA-256 of the body, or UNSIGNED-PAYLOAD */
  readonly payload: string;
};

export const unsignedPayload = "UNSIGNED-PAYLOAD";
export const emptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** Signs requests by AWS Signature Version 4 (S3 API, "Authenticating Requests"); the day's key is derived once. */
export function createRequestSigner(region: string): (request: RequestToSign, keys: SigningKeys, at: Date) => Record<string, string> {
  let derived: { readonly for: string; readonly key: Buffer } | undefined;

  const signingKey = ({ secretAccessKey }: SigningKeys, day: string): Buffer => {
    const name = `${day} ${secretAccessKey}`;
    if (derived?.for !== name) {
      const key = [day, region, "s3", "aws4_request"].reduce(hmac, Buffer.from(`AWS4${secretAccessKey}`));
      derived = { for: name, key };
    }
    return derived.key;
  };

  return ({ method, host, path, query, headers, payload }, keys, at) => {
    const time = at.toISOString().replace(/[-:]|\.\d{3}/g, "");
    const day = time.slice(0, 8);
    const signed: Record<string, string> = { ...headers, host, "x-amz-content-sha256": payload, "x-amz-date": time };
    if (keys.sessionToken !== undefined) signed["x-amz-security-token"] = keys.sessionToken;

    const names = Object.keys(signed).toSorted();
    const lines = names.map((name) => `${name}:${signed[name]!.trim().replace(/ +/g, " ")}\n`).join("");
    const canonical = `${method}\n${path}\n${formatQuery(query)}\n${lines}\n${names.join(";")}\n${payload}`;
    const scope = `${day}/${region}/s3/aws4_request`;
    const toSign = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${createHash("sha256").update(canonical).digest("hex")}`;
    const signature = hmac(signingKey(keys, day), toSign).toString("hex");
    const authorization = `AWS4-HMAC-SHA256 Credential=${keys.accessKeyId}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
    return { ...signed, authorization };
  };
}

/** Canonical: sorted, and encoded as the path is. */
export function formatQuery(query: Readonly<Record<string, string>>): string {
  const names = Object.keys(query).toSorted();
  return names.map((name) => `${encodePart(name)}=${encodePart(query[name]!)}`).join("&");
}

/** The key of an object as a path: all but letters, digits, "-._~" and "/" is percent-encoded. */
export function encodePath(key: string): string {
  return key.split("/").map(encodePart).join("/");
}

function encodePart(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
