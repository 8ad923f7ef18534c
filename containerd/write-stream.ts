import { type ClientHttp2Stream, type IncomingHttpHeaders, constants } from "node:http2";
import { type MessageInitShape, type MessageShape, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ClientError, Status } from "nice-grpc";
import {
  type WriteContentRequestSchema as RequestSchema,
  WriteAction,
  WriteContentRequestSchema,
  WriteContentResponseSchema,
} from "../proto/gen/services/content/v1/content_pb.ts";
import { createAnswerReader } from "./answer-reader.ts";
import type { WriteConnections } from "./write-connections.ts";

/** A message of Content.Write, whose data come beside it. */
export type WriteRequest = Omit<Exclude<MessageInitShape<typeof RequestSchema>, { readonly $typeName: string }>, "data">;
export type WriteAnswer = MessageShape<typeof WriteContentResponseSchema>;

export type WriteStreamEvents = {
  /** containerd answers each message, in order; `decodeAnswer` reads what it says */
  readonly onAnswer: (answer: Uint8Array) => void;
  /** Once, after everything else: undefined when containerd ended the stream well. */
  readonly onEnd: (error: ClientError | undefined) => void;
};

/** One call of Content.Write. How much is on its way is bounded by its owner, who counts the answers. */
export type WriteStream = {
  /** The data are not copied, so they must not change until the answer is here. */
  send(request: WriteRequest, data: readonly Uint8Array[]): void;
  /** The message that comes over and over: a WRITE that is not the first. */
  write(offsetBytes: number, data: readonly Uint8Array[]): void;
  /** Nothing more comes from us; containerd then lets go of the ref. */
  end(): void;
  cancel(): void;
};

export const decodeAnswer = (bytes: Uint8Array): WriteAnswer => fromBinary(WriteContentResponseSchema, bytes);

const path = "/containerd.services.content.v1.Content/Write";
/** field 6, length-delimited */
const dataTag = 0x32;

/**
 * gRPC by hand, over HTTP/2 and past grpc-js: that copies each byte five times on its way, and collecting those copies took more time
 * than sending them. Only the message's data go past protobuf's encoder; they are its last field.
 */
export function openWriteStream(
  connections: WriteConnections,
  metadata: Readonly<Record<string, string>>,
  { onAnswer, onEnd }: WriteStreamEvents,
): WriteStream {
  const connection = connections.take();
  const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers", ...metadata };
  const stream: ClientHttp2Stream = connection.request(headers, { endStream: false });
  const read = createAnswerReader(onAnswer);
  let status: { readonly code: Status; readonly details: string } | undefined;
  let failure: Error | undefined;

  const takeStatus = (from: IncomingHttpHeaders): void => {
    const code = from["grpc-status"];
    if (typeof code === "string") status = { code: Number(code), details: decodeMessage(String(from["grpc-message"] ?? "")) };
  };
  stream.on("response", takeStatus);
  stream.on("trailers", takeStatus);
  stream.on("data", (chunk: Buffer) => read(chunk));
  stream.on("end", () => stream.end());
  stream.on("error", (error) => (failure = error));
  stream.on("close", () => {
    if (status?.code === Status.OK) {
      connections.giveBack(connection);
      return onEnd(undefined);
    }
    connection.destroy();
    const { code, details } = status ?? { code: Status.UNAVAILABLE, details: reasonOf(failure) };
    onEnd(new ClientError(path, code, details));
  });

  function put(fields: Uint8Array, data: readonly Uint8Array[]): void {
    if (stream.destroyed || stream.writableEnded) return;
    stream.cork();
    stream.write(frame(fields, data));
    for (const part of data) stream.write(part);
    stream.uncork();
  }

  return {
    send: (request, data) => put(toBinary(WriteContentRequestSchema, create(WriteContentRequestSchema, request)), data),
    write: (offsetBytes, data) => put(writeFields(offsetBytes), data),
    end: () => void stream.end(),
    // a reset alone waits behind what a containerd that stands still does not read; the connection has no other stream
    cancel: () => connection.destroy(undefined, constants.NGHTTP2_CANCEL),
  };
}

/** Action and offset, fields 1 and 5 as varints. */
function writeFields(offsetBytes: number): Uint8Array {
  return Uint8Array.of(0x08, WriteAction.WRITE, 0x28, ...varint(offsetBytes));
}

/** What stands in front of the data: the length of the message (gRPC over HTTP/2), its other fields, tag and length of the data. */
function frame(fields: Uint8Array, data: readonly Uint8Array[]): Buffer {
  const dataBytes = data.reduce((sum, part) => sum + part.length, 0);
  const dataHead = dataBytes === 0 ? [] : [dataTag, ...varint(dataBytes)];
  const head = Buffer.allocUnsafe(5 + fields.length + dataHead.length);
  head[0] = 0;
  head.writeUInt32BE(fields.length + dataHead.length + dataBytes, 1);
  head.set(fields, 5);
  head.set(dataHead, 5 + fields.length);
  return head;
}

/** Of a whole number up to 2^53. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return [...bytes, rest];
}

/** Percent-encoded; whatever is not, stays as it is. */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function reasonOf(failure: Error | undefined): string {
  const cause = failure?.cause instanceof Error ? failure.cause : failure;
  return cause === undefined ? "the connection to containerd ended" : `no connection to containerd: ${cause.message}`;
}
