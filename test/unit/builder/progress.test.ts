import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { plainLines } from "../../../builder/buildkit/plain-log.ts";
import {
  type BuildEvent,
  type BuildProgress,
  applyStatus,
  countSteps,
  emptyProgress,
  failedStep,
  lastLinesKept,
} from "../../../builder/buildkit/progress.ts";
import { StatusResponseSchema } from "../../../proto/gen/github.com/moby/buildkit/api/services/control/control_pb.ts";

type Init = Parameters<typeof create<typeof StatusResponseSchema>>[1];

const at = (ms: number) => ({ seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1_000_000 });

/** The messages of a stream, folded one after another. */
function fold(...messages: Init[]): { progress: BuildProgress; events: BuildEvent[] } {
  let progress = emptyProgress;
  const events: BuildEvent[] = [];
  for (const message of messages) {
    const applied = applyStatus(progress, create(StatusResponseSchema, message));
    progress = applied.progress;
    events.push(...applied.events);
  }
  return { progress, events };
}

const copy = { digest: "sha256:1", name: "[build 2/4] COPY . ." };
const run = { digest: "sha256:2", name: "[build 3/4] RUN npm ci" };
const log = (text: string | Uint8Array, stream = 1n) => ({ vertex: run.digest, stream, timestamp: at(1500), msg: Buffer.from(text) });

describe("the progress of a build", () => {
  it("tells a step's start, its lines and its end, in that order, even from one message", () => {
    const { events } = fold({
      vertexes: [
        { ...run, started: at(1000) },
        { ...run, started: at(1000), completed: at(3500) },
      ],
      logs: [log("added 12 packages\n")],
    });
    expect(events).toEqual([
      { type: "started", step: 1, name: run.name, atMs: 1000 },
      { type: "log", step: 1, stream: "stdout", line: "added 12 packages", atMs: 1500 },
      { type: "completed", step: 1, name: run.name, atMs: 3500, durationMs: 2500 },
    ]);
    expect(events.flatMap(plainLines)).toEqual(["#1 [build 3/4] RUN npm ci", "#1 added 12 packages", "#1 DONE 2.5s"]);
  });

  it("numbers steps as they appear and says each thing once however often BuildKit repeats it", () => {
    const cached = { ...copy, cached: true, started: at(1000), completed: at(1000) };
    const { events } = fold({ vertexes: [copy, run] }, { vertexes: [cached] }, { vertexes: [cached, { ...run, started: at(1100) }] });
    expect(events.map(({ type, step }) => `${step} ${type}`)).toEqual(["1 started", "1 cached", "2 started"]);
  });

  it("puts lines together that came in pieces, UTF-8 sequences included", () => {
    const text = Buffer.from("grüße\nnext\n");
    const { events } = fold(
      { vertexes: [{ ...run, started: at(1000) }], logs: [log(text.subarray(0, 3))] },
      { logs: [log("other\n", 2n)] },
      { logs: [log(text.subarray(3))] },
    );
    expect(events.filter((event) => event.type === "log").map((event) => `${event.stream} ${event.line}`)).toEqual([
      "stderr other",
      "stdout grüße",
      "stdout next",
    ]);
  });

  it("flushes a last line without an end when the step ends", () => {
    const { events, progress } = fold(
      { vertexes: [{ ...run, started: at(1000) }], logs: [log("half a line")] },
      { vertexes: [{ ...run, started: at(1000), completed: at(2000), error: "exit code: 1" }] },
    );
    expect(events.map(({ type }) => type)).toEqual(["started", "log", "failed"]);
    expect(failedStep(progress)).toMatchObject({ name: run.name, status: "failed", error: "exit code: 1", lastLines: ["half a line"] });
  });

  it("keeps the last lines only, and cuts a line that never ends", () => {
    const many = Array.from({ length: lastLinesKept + 5 }, (_, index) => `line ${index}\n`).join("");
    const { progress } = fold({ vertexes: [{ ...run, started: at(0) }], logs: [log(many)] });
    expect(progress.get(run.digest)?.lastLines).toHaveLength(lastLinesKept);
    expect(progress.get(run.digest)?.lastLines.at(-1)).toBe(`line ${lastLinesKept + 4}`);
    const endless = fold({ logs: [log("x".repeat(40_000))] });
    expect(endless.progress.get(run.digest)?.partial.stdout).toBe("");
    expect(endless.events).toHaveLength(1);
  });

  it("counts the Dockerfile's own steps, without FROM and BuildKit's internal ones", () => {
    const done = (name: string, cached: boolean) => ({ digest: `sha256:${name}`, name, cached, started: at(1), completed: at(2) });
    const { progress } = fold({
      vertexes: [
        done("[internal] load metadata for docker.io/library/node:24-slim", false),
        done("[auth] library/node:pull", false),
        done("[build 1/4] FROM docker.io/library/node:24-slim", false),
        done("[build 2/4] COPY . .", true),
        done("[build 3/4] RUN npm ci", false),
        done("exporting to image", false),
      ],
    });
    expect(countSteps(progress)).toEqual({ steps: 2, cachedSteps: 1 });
  });
});
