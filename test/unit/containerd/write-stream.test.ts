import { once } from "node:events";
import http2 from "node:http2";
import { fromBinary } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { openWriteStream } from "../../../containerd/write-stream.ts";
import { createAnswerReader } from "../../../containerd/answer-reader.ts";
import { WriteAction, WriteContentRequestSchema } from "../../../proto/gen/services/content/v1/content_pb.ts";

it("encodes what it encodes by hand as protobuf does, at every size of offset and data", async () => {
  const server = http2.createServer();
  const found: { readonly offset: bigint; readonly sizeBytes: number; readonly action: WriteAction }[] = [];
  server.on("stream", (stream) => {
    const read = createAnswerReader((bytes) => {
      const { action, offset, data } = fromBinary(WriteContentRequestSchema, bytes);
      found.push({ action, offset, sizeBytes: data.length });
    });
    stream.on("data", read);
    stream.on("end", () => {
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end();
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const connection = http2.connect(`http://127.0.0.1:${(server.address() as { port: number }).port}`);
  const offsets = [0, 1, 127, 128, 300, 2 ** 31 - 1, 2 ** 31, 2 ** 32 + 5, 2 ** 40 + 129, Number.MAX_SAFE_INTEGER];
  const sizes = [1, 127, 128, 70_000];
  const ended = new Promise<Error | undefined>((resolve) => {
    const connections = { take: () => connection, giveBack: () => undefined, [Symbol.dispose]: () => undefined };
    const stream = openWriteStream(connections, {}, { onAnswer: () => undefined, onEnd: resolve });
    for (const offset of offsets) for (const size of sizes) stream.write(offset, [Buffer.alloc(size - 1), Buffer.alloc(1)]);
    stream.end();
  });
  expect(await ended).toBeUndefined();
  connection.close();
  server.close();
  const wanted = offsets.flatMap((offset) => sizes.map((sizeBytes) => ({ action: WriteAction.WRITE, offset: BigInt(offset), sizeBytes })));
  expect(found).toEqual(wanted);
});
