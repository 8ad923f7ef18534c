import { describe, expect, test } from "vitest";
import { buildEntryLines } from "../../../cli/render/build-lines.ts";
import { applyBuildEntry, buildStateLines, emptyBuild } from "../../../cli/render/build-state.ts";
import { cellsOf, fitCells } from "../../../cli/render/cells.ts";
import { failureLines, replicationText, resultLine, summaryLines } from "../../../cli/render/end-lines.ts";
import { createEventWriter, createJsonlRenderer } from "../../../cli/render/jsonl-renderer.ts";
import { createPlainRenderer } from "../../../cli/render/plain-renderer.ts";
import { resultJson } from "../../../cli/render/result-json.ts";
import { changedStepLines } from "../../../cli/render/step-lines.ts";
import { ageOf, sizeOf } from "../../../cli/render/table.ts";
import { createTtyRenderer, frameLines } from "../../../cli/render/tty-renderer.ts";
import { mayColour, progressStyle } from "../../../cli/output.ts";
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
      resultJson(
        { kind: "deployed", result: liveView },
        { ...context, replication: { ...replication, status: "durable" }, upload: { sizeBytes: 4096, sentBytes: 1024 } },
      ),
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
      upload: { sent_bytes: 1024, total_bytes: 4096 },
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

  test("tell the attempts apart, and why one of them broke off", () => {
    expect(buildEntryLines({ type: "attempt", attempt: 1, atMs: 1 })).toEqual([]);
    expect(buildEntryLines({ type: "broken off", attempt: 1, reason: "Lost the builder: \u001b[1mgone", atMs: 1 })).toEqual([
      "--> build attempt 1 broke off: Lost the builder: gone",
    ]);
    expect(buildEntryLines({ type: "attempt", attempt: 2, atMs: 1 })).toEqual(["--> build attempt 2"]);
  });
});

describe("a build on a terminal", () => {
  const wide = { rows: 20, columns: 80 };
  const begun = applyBuildEntry(applyBuildEntry(emptyBuild, { type: "started", step: 1, name: "[1/2] FROM busybox", atMs: 1000 }), {
    type: "started",
    step: 2,
    name: "[2/2]\tRUN \u001b[31mx",
    atMs: 2000,
  });
  const logged = (count: number) =>
    Array.from({ length: count }).reduce<typeof begun>(
      (state, _, at) => applyBuildEntry(state, { type: "log", step: 2, stream: "stdout", line: `l${at}`, atMs: 3000 }),
      begun,
    );

  test("shows the steps that run with their time and what they fetched, and the last lines", () => {
    let state = applyBuildEntry(logged(9), {
      type: "status",
      step: 1,
      id: "sha256:a",
      current: 1024,
      total: 4096,
      done: false,
      atMs: 3000,
    });
    state = applyBuildEntry(state, { type: "status", step: 1, id: "sha256:b", current: 1024, total: 1024, done: true, atMs: 3000 });
    expect(buildStateLines(state, 3500, wide)).toEqual([
      "    #1 [1/2] FROM busybox  2.0 KiB / 5.0 KiB  2.5s",
      "    #2 [2/2]  RUN x  1.5s",
      ...["l3", "l4", "l5", "l6", "l7", "l8"].map((line) => `      ${line}`),
    ]);
  });

  test("counts the steps that are over instead of showing them", () => {
    let state = applyBuildEntry(begun, { type: "completed", step: 2, name: "RUN", atMs: 2500, durationMs: 500 });
    state = applyBuildEntry(state, { type: "cached", step: 1, name: "FROM", atMs: 2500 });
    expect(buildStateLines(state, 3500, wide)).toEqual(["    2 done, 1 of them cached"]);
    const over = applyBuildEntry(logged(9), { type: "completed", step: 2, name: "RUN", atMs: 2500, durationMs: 500 });
    expect(buildStateLines(over, 3500, wide)).toEqual(["    1 done", "    #1 [1/2] FROM busybox  2.5s"]);
    expect(buildStateLines(applyBuildEntry(state, { type: "attempt", attempt: 2, atMs: 1 }), 0, wide)).toEqual(["    attempt 2"]);
  });

  test.each([0, 1, 2, 3, 4, 8])("takes at most %i rows when there are no more, the steps that run first", (rows) => {
    const lines = buildStateLines({ ...logged(9), done: 3 }, 3500, { rows, columns: 80 });
    expect(lines).toHaveLength(rows);
    expect(lines.filter((line) => line.startsWith("    #"))).toHaveLength(Math.min(2, rows));
  });

  test("cuts the name of a step and keeps its time where the terminal is narrow", () => {
    const long = applyBuildEntry(emptyBuild, { type: "started", step: 3, name: "[build 3/9] RUN a very long command", atMs: 0 });
    expect(buildStateLines(long, 61_000, { rows: 5, columns: 28 })).toEqual(["    #3 [build 3/9] R…  1m01s"]);
    for (const columns of [1, 5, 12, 40])
      expect(cellsOf(buildStateLines(long, 61_000, { rows: 5, columns })[0]!)).toBeLessThanOrEqual(columns);
  });
});

test("characters take the cells that a terminal gives them", () => {
  expect(["abc", "漢字", "e\u0301", "🚀", "✓", ""].map(cellsOf)).toEqual([3, 4, 1, 2, 1, 0]);
  expect(fitCells("漢字漢字", 6)).toBe("漢字…");
  expect(fitCells("漢字", 4)).toBe("漢字");
  expect(fitCells("abc", 0)).toBe("");
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

  const building = applyBuildEntry(applyBuildEntry(emptyBuild, { type: "started", step: 4, name: "[2/3] RUN npm ci", atMs: 1230 }), {
    type: "log",
    step: 4,
    stream: "stdout",
    line: "added 3 packages",
    atMs: 2000,
  });

  test("a frame shows every step and what the build says, within the terminal", () => {
    expect(frameLines({ view: runningView, build: building }, 2230, { columns: 40, rows: 24 })).toEqual([
      "✓ Waking the builder  230ms  from stop…",
      "⠹ Building the image  1.0s",
      "    #4 [2/3] RUN npm ci  1.0s",
      "      added 3 packages",
      "· Verifying the image",
      "· Rolling out",
    ]);
    expect(frameLines({ view: runningView, build: building }, 0, { columns: 40, rows: 3 })).toHaveLength(2);
    // the steps of the run stay, the build's lines give way
    expect(frameLines({ view: runningView, build: building }, 2230, { columns: 40, rows: 6 }).at(-1)).toBe("· Rolling out");
  });

  function terminal(colours: boolean) {
    const written: string[] = [];
    const size = { columns: 80, rows: 24 };
    const renderer = createTtyRenderer({ write: (text) => written.push(text), now: () => 0, size: () => size, colours });
    return { written, size, renderer };
  }

  test("tty: the next frame replaces the one before, whatever the cursor's column", () => {
    const { written, renderer } = terminal(false);
    renderer.view(runningView);
    renderer.notice("reconnecting");
    expect(written[0]).not.toContain("\u001b");
    expect(written[1]).toBe("\r\u001b[4A\u001b[0Jreconnecting\n");
    expect(written[2]).not.toContain("\u001b");
  });

  test("tty: a frame that a narrower terminal has wrapped is erased whole", () => {
    const { written, size, renderer } = terminal(false);
    renderer.view(runningView);
    size.columns = 20;
    renderer.tick();
    // "✓ Waking the builder  230ms  from stopped" has three rows of 20, "Building …" and "Verifying …" two
    expect(written[1]).toContain("\r\u001b[8A\u001b[0J");
  });

  test("tty: colours where there may be some, and none in the build's own words", () => {
    const { written, renderer } = terminal(true);
    renderer.build({ type: "log", step: 4, stream: "stdout", line: "\u001b[31mred", atMs: 0 });
    renderer.view(runningView);
    expect(written[0]).toContain("\u001b[32m✓\u001b[0m Waking");
    expect(written[0]).toContain("\u001b[2m      red\u001b[0m");
    expect(written[0]).not.toContain("\u001b[31m");
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
    ["auto", { NO_COLOR: "1" }, true, "tty"],
    ["auto", { TERM: "dumb" }, true, "plain"],
    ["tty", { CI: "true" }, false, "tty"],
    ["plain", {}, true, "plain"],
  ] as const)("progress %s with %j, terminal %j, is %s", (progress, environment, isTty, style) => {
    expect(progressStyle({ progress }, environment, isTty)).toBe(style);
  });
});

test("colours are for terminals, unless NO_COLOR is set", () => {
  expect([mayColour({}, true), mayColour({ NO_COLOR: "" }, true), mayColour({ NO_COLOR: "1" }, true), mayColour({}, false)]).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

test("ages and sizes read well", () => {
  expect([5_000, 65_000, 7_300_000, 180_000_000].map((ms) => ageOf(0, ms))).toEqual(["5s", "1m", "2h", "2d"]);
  expect([5, 2048, 3_145_728, 5_368_709_120].map(sizeOf)).toEqual(["5 B", "2.0 KiB", "3.0 MiB", "5.00 GiB"]);
});
