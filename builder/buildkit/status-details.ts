import { fromBinary } from "@bufbuild/protobuf";
import { z } from "zod";
import { StatusSchema } from "../../proto/gen/google/rpc/status_pb.ts";

/** Where in the Dockerfile a failed step stands; lines count from 1. */
export type DockerfileLine = { readonly file: string; readonly first: number; readonly last: number; readonly text: readonly string[] };

// buildkitd packs JSON, not protobuf, into its `Any`s (util/grpcerrors)
const sourceSchema = z.object({
  info: z.object({ filename: z.string(), data: z.base64() }),
  ranges: z.array(z.object({ start: z.object({ line: z.number().int() }), end: z.object({ line: z.number().int() }) })).min(1),
});

/** Reads the place in the Dockerfile out of `grpc-status-details-bin`; undefined when the error names none. */
export function dockerfileLine(statusDetails: Uint8Array): DockerfileLine | undefined {
  const status = fromBinary(StatusSchema, statusDetails);
  for (const detail of status.details) {
    if (!/errdefs\.Source(\+json)?$/.test(detail.typeUrl)) continue;
    const source = sourceSchema.safeParse(parseJson(detail.value));
    const range = source.data?.ranges[0];
    if (source.data === undefined || range === undefined) continue;
    const lines = Buffer.from(source.data.info.data, "base64").toString("utf8").split("\n");
    const { start, end } = range;
    return { file: source.data.info.filename, first: start.line, last: end.line, text: lines.slice(start.line - 1, end.line) };
  }
  return undefined;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
}
