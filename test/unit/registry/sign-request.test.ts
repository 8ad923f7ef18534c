import { describe, expect, it } from "vitest";
import { createRequestSigner, emptyPayload, encodePath } from "../../../registry/bucket/sign-request.ts";

// the examples of the S3 API reference, "Signature Calculations: Transferring Payload in a Single Chunk"
const keys = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
const host = "examplebucket.s3.amazonaws.com";
const at = new Date("2013-05-24T00:00:00.000Z");
const sign = createRequestSigner("us-east-1");

describe("a signature", () => {
  it("of a GET with a range is that of the S3 reference", () => {
    const request = { method: "GET", host, path: "/test.txt", query: {}, headers: { range: "bytes=0-9" }, payload: emptyPayload };
    expect(sign(request, keys, at).authorization).toBe(
      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, " +
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, " +
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
  });

  it("of a PUT with a body and a key with a dollar sign is that of the S3 reference", () => {
    const request = {
      method: "PUT",
      host,
      path: `/${encodePath("test$file.text")}`,
      query: {},
      headers: { date: "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY" },
      payload: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    };
    expect(sign(request, keys, at).authorization).toContain("Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
  });

  it("of a query is that of the S3 reference", () => {
    const query = { prefix: "J", "max-keys": "2" };
    const signed = sign({ method: "GET", host, path: "/", query, headers: {}, payload: emptyPayload }, keys, at);
    expect(signed.authorization).toContain("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
  });

  it("changes with the day and with the keys, and covers a session token", () => {
    const request = { method: "GET", host, path: "/a", query: {}, headers: {}, payload: emptyPayload };
    const first = sign(request, keys, at).authorization;
    expect(sign(request, keys, new Date("2013-05-25T00:00:00.000Z")).authorization).not.toBe(first);
    expect(sign(request, { ...keys, secretAccessKey: "other" }, at).authorization).not.toBe(first);
    const signed = sign(request, { ...keys, sessionToken: "token" }, at);
    expect(signed).toMatchObject({ "x-amz-security-token": "token" });
    expect(signed.authorization).toContain("x-amz-security-token,");
    expect(sign(request, keys, at).authorization).toBe(first);
  });
});

it("encodes all of a key but what a path may hold", () => {
  expect(encodePath("repositories/a:b/tags/v1.0_x~(y)*!'z é")).toBe("repositories/a%3Ab/tags/v1.0_x~%28y%29%2A%21%27z%20%C3%A9");
});
