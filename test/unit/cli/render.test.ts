import { describe, expect, test } from "vitest";
import { applyBuildEntry, buildEntryLines, emptyBuild } from "../../../cli/render/build-lines.ts";
import { failureLines, replicationText, resultLine, summaryLines } from "../../../cli/render/end-lines.ts";
import { createEventWriter, createJsonlRenderer } from "../../../cli/render/jsonl-renderer.ts";
import { createPlainRenderer } from "../../../cli/render/plain-renderer.ts";
import { resultJson } from "../../../cli/render/result-json.ts";
import { changedStepLines } from "../../../cli/render/step-lines.ts";
import { ageOf, sizeOf } from "../../../cli/render/table.ts";
import { createTtyRenderer, frameLines } from "../../../cli/render/tty-renderer.ts";
import { progressStyle } from "../../../cli/output.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { digest, failedView, liveView, runningView } from "./views.ts";

const replication = { org: "default", repository: parseRepository("default/web"), digest, attempts: 1, sentBytes: 5 };
const context = { workflowId: "deploy/default/web/k1", app: "web", ui: "http://ui" };

describe("step lines", () => {
  test("each step is announced once and ended once, a machine once per state", () => {
    expect(changedStepLines(undefined, runningView)).toEqual([
      "--> Waking the builder: done in 230ms (from stopped)",
      "==> Building the image",
    ]);
    expect(changedStepLines(runningView, runningView)).toEqual([]);
    expect(changedStepLines(runningView, liveView)).toEqual([
      "--> Building the image: done in 1m01s",
      "--> Verifying the image: done in 12ms",
      "--> Rolling out: done in 400ms",
      "--> [1/1] web-app-0-v3 healthy",
    ]);
  });
});

describe("the end of a run", () => {
  test("is a table of steps, then release, image, machines, replication and url", () => {
    expect(
      summaryLines(liveView, { changed: true, replication: { ...replication, status: "retrying", attempts: 4, lastError: "503\n" } }),
    ).toEqual([
      "STEP     STATUS  TIME",
      "wake     done    230ms",
      "build    done    1m01s",
      "verify   done    12ms",
      "rollout  done    400ms",
      "total    live    1m02s",
      "",
      "release:     web v3, replaces v2",
      `image:       ${digest} (2.9 MiB)`,
      "machine:     web-app-0-v3 on one: healthy",
      "replication: retrying (attempt 4: 503)",
      "url:         http://127.0.0.1:8080",
    ]);
    expect(summaryLines(liveView, { changed: false })).toContain("release: web v3 (nothing to change)");
    expect(replicationText({ ...replication, status: "durable", lastError: "old" })).toBe("durable");
  });

  test("leaves one line on stdout", () => {
    expect(resultLine(liveView)).toBe(`web v3 ${digest}`);
  });

  test("a failure says what, where, what serves, the last 20 lines without control characters, and what to do", () => {
    const lines = failureLines({
      message: "It\u001b]0;x\u0007 broke",
      code: "DEPLOY_UNHEALTHY",
      error: failedView.error!,
      ui: "http://ui",
      workflowId: "deploy/default/web/k1",
    });
    expect(lines.slice(0, 5)).toEqual([
      "Error: It broke",
      "Stage: rollout",
      "Code: DEPLOY_UNHEALTHY",
      "Serving: v2 serves as before",
      "Last 20 log lines:",
    ]);
    expect(lines.slice(5, 25)).toEqual(Array.from({ length: 20 }, (_, at) => `  | line ${at + 5}`));
    expect(lines.slice(25)).toEqual(["Try: slipway status, then deploy again once the app answers its check", "Run: http://ui"]);
  });
});

describe("the JSON result", () => {
  test("holds what is known of a live run, in schema version 1", () => {
    expect(
      resultJson({ kind: "deployed", result: liveView }, { ...context, replication: { ...replication, status: "durable" } }),
    ).toMatchObject({
      schema_version: 1,
      workflow_id: "deploy/default/web/k1",
      run_id: "0198",
      app: "web",
      status: "live",
      changed: true,
      release: { version: 3, previous: 2 },
      image: { digest, size_bytes: 3_000_000 },
      machines: [{ id: "web-app-0-v3", healthy: true, image_digest: digest }],
      steps: [{ name: "wake", duration_ms: 230, started_at: "1970-01-01T00:00:01.000Z" }, {}, {}, {}],
      replication: { status: "durable" },
      links: { ui: "http://ui" },
    });
  });

  test("names the error of a failed run and leaves out what is not known", () => {
    const json = resultJson({ kind: "failed", code: "DEPLOY_UNHEALTHY", message: "no", view: failedView }, context);
    expect(json).toMatchObject({
      status: "failed",
      changed: false,
      error: { code: "DEPLOY_UNHEALTHY", stage: "rollout", serving: "v2 serves as before" },
    });
    expect(json).not.toHaveProperty("release");
    expect(json).not.toHaveProperty("replication");
  });
});

describe("build lines", () => {
  test("are numbered by step, stripped, and nothing for entries that are not known", () => {
    expect(buildEntryLines({ type: "started", step: 2, name: "[2/3] RUN x", atMs: 1 })).toEqual(["#2 [2/3] RUN x"]);
    expect(buildEntryLines({ type: "log", step: 2, stream: "stdout", line: "\u001b[1mhi\u0000", atMs: 1 })).toEqual(["#2 hi"]);
    expect(buildEntryLines({ type: "failed", step: 2, name: "RUN", error: "exit code: 1", atMs: 1 })).toEqual(["#2 ERROR: exit code: 1"]);
    expect(buildEntryLines({ type: "of tomorrow" } as never)).toEqual([]);
  });

  test("a terminal sees the steps that run and the last lines; a new attempt begins anew", () => {
    let state = applyBuildEntry(emptyBuild, { type: "started", step: 1, name: "[1/2] FROM", atMs: 1 });
    state = applyBuildEntry(state, { type: "started", step: 2, name: "[2/2] RUN", atMs: 1 });
    state = applyBuildEntry(state, { type: "completed", step: 1, name: "[1/2] FROM", atMs: 2, durationMs: 1 });
    for (let at = 0; at < 9; at++) state = applyBuildEntry(state, { type: "log", step: 2, stream: "stdout", line: `l${at}`, atMs: 2 });
    expect([...state.active]).toEqual([[2, "[2/2] RUN"]]);
    expect(state.tail).toEqual(["l3", "l4", "l5", "l6", "l7", "l8"]);
    expect(applyBuildEntry(state, { type: "attempt", attempt: 2, atMs: 3 })).toEqual(emptyBuild);
  });
});

describe("renderers", () => {
  test("plain: append-only lines with elapsed seconds, and a heartbeat after 30 s without any", () => {
    let nowMs = 1000;
    let out = "";
    const renderer = createPlainRenderer({ write: (text) => (out += text), now: () => nowMs });
    renderer.tick();
    renderer.view(runningView);
    nowMs = 30_500;
    renderer.tick();
    nowMs = 31_230;
    renderer.tick();
    renderer.tick();
    expect(out.split("\n")).toEqual([
      "[   0.0] --> Waking the builder: done in 230ms (from stopped)",
      "[   0.0] ==> Building the image",
      "[  30.2] ... Building the image (30.0s)",
      "",
    ]);
  });

  test("a frame shows every step and what the build says, within the terminal", () => {
    const build = { active: new Map([[4, "[2/3] RUN npm ci"]]), tail: ["added 3 packages"] };
    expect(frameLines({ view: runningView, build }, 2230, { columns: 40, rows: 24 })).toEqual([
      "✓ Waking the builder  230ms  from stopp",
      "⠹ Building the image  1.0s",
      "    #4 [2/3] RUN npm ci",
      "      added 3 packages",
      "· Verifying the image",
      "· Rolling out",
    ]);
    expect(frameLines({ view: runningView, build }, 0, { columns: 40, rows: 3 })).toHaveLength(2);
  });

  test("tty: the next frame replaces the one before", () => {
    const written: string[] = [];
    const renderer = createTtyRenderer({ write: (text) => written.push(text), now: () => 0 }, () => ({ columns: 80, rows: 24 }));
    renderer.view(runningView);
    renderer.notice("reconnecting");
    expect(written[0]).not.toContain("\u001b");
    expect(written[1]).toBe("\u001b[4A\u001b[0Jreconnecting\n");
    expect(written[2]).not.toContain("\u001b");
  });

  test("jsonl: numbered events with the run's id, each step's change once", () => {
    let out = "";
    const event = createEventWriter({ write: (text) => (out += text), now: () => 0 }, "deploy/default/web/k1");
    const renderer = createJsonlRenderer(event);
    renderer.view(runningView);
    renderer.view(runningView);
    const events = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.map(({ seq, type, stage, status }) => [seq, type, stage, status])).toEqual([
      [0, "step", "wake", "done"],
      [1, "step", "build", "running"],
      [2, "run", undefined, "building"],
    ]);
    expect(events[0]).toMatchObject({ ts: "1970-01-01T00:00:00.000Z", run_id: "deploy/default/web/k1" });
  });

  test.each([
    ["auto", {}, true, "tty"],
    ["auto", {}, false, "plain"],
    ["auto", { CI: "true" }, true, "plain"],
    ["auto", { NO_COLOR: "1" }, true, "plain"],
    ["auto", { TERM: "dumb" }, true, "plain"],
    ["tty", { CI: "true" }, false, "tty"],
    ["plain", {}, true, "plain"],
  ] as const)("progress %s with %j, terminal %j, is %s", (progress, environment, isTty, style) => {
    expect(progressStyle({ progress }, environment, isTty)).toBe(style);
  });
});

test("ages and sizes read well", () => {
  expect([5_000, 65_000, 7_300_000, 180_000_000].map((ms) => ageOf(0, ms))).toEqual(["5s", "1m", "2h", "2d"]);
  expect([5, 2048, 3_145_728, 5_368_709_120].map(sizeOf)).toEqual(["5 B", "2.0 KiB", "3.0 MiB", "5.00 GiB"]);
});
