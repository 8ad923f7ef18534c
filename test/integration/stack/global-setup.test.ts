import { connect } from "node:net";
import { once } from "node:events";
import { S3Client, CreateBucketCommand, ListBucketsCommand } from "@aws-sdk/client-s3";
import { Connection } from "@temporalio/client";
import { expect, inject, test } from "vitest";

test("the S3 server takes buckets with its own keys", async () => {
  const { endpoint, region, accessKeyId, secretAccessKey } = inject("s3");
  const client = new S3Client({ endpoint, region, credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: "setup-check" }));
  const { Buckets } = await client.send(new ListBucketsCommand({}));
  expect(Buckets?.map(({ Name }) => Name)).toContain("setup-check");
});

test("the Temporal server knows our search attributes", async () => {
  const connection = await Connection.connect({ address: inject("temporalAddress") });
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace: "default" });
  await connection.close();
  expect(Object.keys(customAttributes)).toEqual(expect.arrayContaining(["SlipwayOrg", "SlipwayApp", "SlipwayStage", "SlipwayDigest"]));
});

test("containerd listens on its own socket", async () => {
  const socket = connect(inject("containerdSocket"));
  await once(socket, "connect");
  socket.destroy();
});
