import { type MessageInitShape, create, toBinary } from "@bufbuild/protobuf";
import { type Definition, DefinitionSchema, OpSchema } from "../../proto/gen/github.com/moby/buildkit/solver/pb/ops_pb.ts";
import { digestOf } from "../../oci/digest.ts";

/** BuildKit's words for "as it is" and for "an empty folder" (solver/pb). */
const asItIs = -1;
const asItIsTime = -1n;
const scratch = -1n;

const fileName = "context";

/**
 * A folder that BuildKit makes of a tar behind a URL, as a frontend's input: the frontend itself unpacks such a tar for the main context
 * alone. `name` is what its steps are called in the log.
 */
export function tarInput(name: string, url: string): Definition {
  const fetch = op({ op: { case: "source", value: { identifier: url, attrs: { "http.filename": fileName } } } });
  const unpack = op({
    inputs: [{ digest: fetch.digest }],
    op: {
      case: "file",
      value: { actions: [{ input: scratch, secondaryInput: 0n, output: 0n, action: { case: "copy", value: unpacking } }] },
    },
  });
  const result = op({ inputs: [{ digest: unpack.digest }] });
  const called = (text: string) => ({ description: { "llb.customname": `[context ${name}] ${text}` } });
  return create(DefinitionSchema, {
    def: [fetch.bytes, unpack.bytes, result.bytes],
    metadata: { [fetch.digest]: called("load remote build context"), [unpack.digest]: called("copy /context /") },
  });
}

const unpacking = {
  src: `/${fileName}`,
  dest: "/",
  mode: asItIs,
  timestamp: asItIsTime,
  attemptUnpackDockerCompatibility: true,
} as const;

function op(init: MessageInitShape<typeof OpSchema>): { readonly bytes: Uint8Array; readonly digest: string } {
  const bytes = toBinary(OpSchema, create(OpSchema, init));
  return { bytes, digest: digestOf(bytes) };
}
