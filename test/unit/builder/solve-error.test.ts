import { create, toBinary } from "@bufbuild/protobuf";
import { Status } from "nice-grpc";
import { describe, expect, it } from "vitest";
import { BuildFailed, BuilderLost, PushFailed, SourceUnavailable, solveError } from "../../../builder/buildkit/errors.ts";
import { type BuildProgress, emptyProgress } from "../../../builder/buildkit/progress.ts";
import { dockerfileLine } from "../../../builder/buildkit/status-details.ts";
import { StatusSchema } from "../../../proto/gen/google/rpc/status_pb.ts";

function failedAt(name: string, error: string, lastLines: string[] = []): BuildProgress {
  return new Map([
    ["sha256:1", { step: 1, digest: "sha256:1", name, status: "failed", error, lastLines, partial: { stdout: "", stderr: "" } }],
  ]);
}

const evidence = (code: Status, message: string, progress = emptyProgress) => solveError({ code, message, line: undefined, progress });

describe("whose fault a failed solve is", () => {
  it.each([
    ["a step", "process did not complete: exit code: 1", failedAt("[1/2] RUN dd", "exit code: 1", ["dd: /x: No space left on device"])],
    ["the export", "failed to copy: write /x: no space left on device", failedAt("exporting to image", "no space left on device")],
    ["the source", "write /x: no space left on device", failedAt("[internal] load remote build context", "no space left on device")],
  ])("says that the builder's disk is full when %s found no room, and what to do", (_what, message, progress) => {
    const error = evidence(Status.UNKNOWN, message, progress);
    expect(error).toBeInstanceOf(BuildFailed);
    expect(error.message).toMatch(/the builder's disk is full: slipway builder prune/);
  });

  it("blames the Dockerfile when one of its steps failed, and says which with its last lines", () => {
    const error = evidence(Status.UNKNOWN, "process did not complete: exit code: 1", failedAt("[1/2] RUN false", "exit code: 1", ["oops"]));
    expect(error).toBeInstanceOf(BuildFailed);
    expect(error).toMatchObject({ step: "[1/2] RUN false", lastLines: ["oops"] });
  });

  it("blames the Dockerfile when it cannot be parsed, although no step ran", () => {
    expect(evidence(Status.UNKNOWN, "dockerfile parse error on line 8: unknown instruction: RUNN")).toBeInstanceOf(BuildFailed);
  });

  it.each([
    [Status.UNAVAILABLE, "Connection dropped"],
    [Status.UNAVAILABLE, "No connection established. Last error: connect ECONNREFUSED"],
    [Status.INTERNAL, "Received RST_STREAM with code 2"],
    [Status.CANCELLED, "context canceled"],
    [Status.UNKNOWN, "failed to solve: no active session for abc: context deadline exceeded"],
  ])("says that the builder is lost for code %i, %s", (code, message) => {
    expect(evidence(code, message)).toBeInstanceOf(BuilderLost);
  });

  it("says that the builder is lost when it cancelled its steps as it ended", () => {
    const progress = failedAt("[1/2] RUN sleep 100", "context canceled: context canceled");
    expect(evidence(Status.UNAVAILABLE, "Connection dropped", progress)).toBeInstanceOf(BuilderLost);
  });

  it("does not take a failed step for a lost builder, whatever the code", () => {
    expect(evidence(Status.CANCELLED, "exit code: 1", failedAt("[1/2] RUN false", "exit code: 1"))).toBeInstanceOf(BuildFailed);
  });

  it("tells a failed push by the failed export or by BuildKit's own words", () => {
    expect(evidence(Status.UNKNOWN, "failed to push registry/x:1: 503")).toBeInstanceOf(PushFailed);
    expect(evidence(Status.UNKNOWN, "no space left", failedAt("exporting to image", "no space left"))).toBeInstanceOf(PushFailed);
  });

  it("does not take what is wrong with an SBOM for a failed push", () => {
    const message = "bundle entry  does not match required predicate type https://spdx.dev/Document";
    const error = evidence(Status.UNKNOWN, message, failedAt("exporting to image", message));
    expect(error).toBeInstanceOf(BuildFailed);
    expect(error.message).toContain("Cannot attach what the SBOM generator made: bundle entry");
  });

  it("does not blame a step that was cancelled because another one failed", () => {
    const [culprit] = failedAt("[context shared] load remote build context", "404").values();
    const [cancelled] = failedAt("[2/3] RUN x", "context canceled").values();
    const both: BuildProgress = new Map([culprit!, cancelled!].map((step, at) => [`sha256:${at}`, step]));
    expect(evidence(Status.UNKNOWN, "failed to load cache key: 404", both)).toBeInstanceOf(SourceUnavailable);
  });

  it("tells a source that could not be fetched", () => {
    const progress = failedAt("[internal] load remote build context", "invalid response status 404");
    expect(evidence(Status.UNKNOWN, "failed to read downloaded context", progress)).toBeInstanceOf(SourceUnavailable);
  });
});

describe("the place in the Dockerfile", () => {
  const detail = (typeUrl: string, value: object) => ({ typeUrl, value: Buffer.from(JSON.stringify(value)) });
  const encode = (...details: ReturnType<typeof detail>[]) => toBinary(StatusSchema, create(StatusSchema, { code: 2, details }));
  const data = Buffer.from("FROM scratch\nCOPY a /\nRUN x\n").toString("base64");

  it("is read from the JSON that buildkitd packs into the status details", () => {
    const bytes = encode(
      detail("github.com/moby/buildkit/stack.Stack+json", { frames: [] }),
      detail("github.com/moby/buildkit/errdefs.Source+json", {
        info: { filename: "Dockerfile", data },
        ranges: [{ start: { line: 2 }, end: { line: 3 } }],
      }),
    );
    expect(dockerfileLine(bytes)).toEqual({ file: "Dockerfile", first: 2, last: 3, text: ["COPY a /", "RUN x"] });
  });

  it("is absent when no detail names one, or it is not readable", () => {
    expect(dockerfileLine(encode())).toBeUndefined();
    expect(dockerfileLine(encode(detail("errdefs.Source", { info: 1 })))).toBeUndefined();
  });
});
