import { EventEmitter } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test, vi } from "vitest";
import type { BuildLogEntry } from "../../../builder/build-log.ts";
import type { RunOutcome } from "../../../cli/control-plane/run-outcome.ts";
import { followRun } from "../../../cli/follow/follow-run.ts";
import { listenForInterrupts } from "../../../cli/follow/interrupts.ts";
import type { RunHandle } from "../../../cli/follow/run-handle.ts";
import { quietRenderer, type Renderer } from "../../../cli/render/renderer.ts";
import { liveView, runningView } from "./views.ts";

function recordingRenderer() {
  const seen: string[] = [];
  const renderer: Renderer = {
    view: (view) => void seen.push(`view ${view.status}`),
    build: (entry) => void seen.push(`build ${entry.type}`),
    notice: (text) => void seen.push(`notice ${text}`),
    tick: () => {},
    end: () => void seen.push("end"),
  };
  return { renderer, seen };
}

/** A run that ends when it is told to. */
function scriptedRun(outage = false) {
  const end = Promise.withResolvers<RunOutcome>();
  const run: RunHandle = {
    workflowId: "deploy/default/web/k1",
    view: async () => runningView,
    outcome: (signal, onOutage) => {
      if (outage) {
        onOutage();
        onOutage();
      }
      return Promise.race([
        end.promise,
        new Promise<never>((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
      ]);
    },
    cancel: async () => {},
    terminate: async () => {},
  };
  return { run, end };
}

async function* oneEntry(signal: AbortSignal): AsyncGenerator<BuildLogEntry> {
  yield { type: "started", step: 1, name: "RUN", atMs: 0 };
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
}

describe("followRun", () => {
  test("shows the run and its build, and last of all the run as it ended", async () => {
    const { renderer, seen } = recordingRenderer();
    const { run, end } = scriptedRun();
    const following = followRun({ run, renderer, buildLog: oneEntry, interrupts: listenForInterrupts(new EventEmitter()) });
    await vi.waitFor(() => expect(seen).toEqual(expect.arrayContaining(["view building", "build started"])));
    end.resolve({ kind: "deployed", result: liveView });
    expect(await following).toEqual({ kind: "ended", outcome: { kind: "deployed", result: liveView } });
    expect(seen.slice(-2)).toEqual(["view live", "end"]);
    const length = seen.length;
    await sleep(200);
    expect(seen).toHaveLength(length);
  });

  test("what the build said comes after what is known of the run", async () => {
    const { renderer, seen } = recordingRenderer();
    const { run, end } = scriptedRun();
    const slow = { ...run, view: async () => (await sleep(20), runningView) };
    const following = followRun({ run: slow, renderer, buildLog: oneEntry, interrupts: listenForInterrupts(new EventEmitter()) });
    await vi.waitFor(() => expect(seen).toContain("build started"));
    expect(seen[0]).toBe("view building");
    end.resolve({ kind: "deployed", result: liveView });
    await following;
  });

  test("where nothing is shown, the run is asked for nothing but its end", async () => {
    const { run, end } = scriptedRun();
    let asked = 0;
    const counted = { ...run, view: async () => (asked++, runningView) };
    const following = followRun({
      run: counted,
      renderer: quietRenderer,
      buildLog: oneEntry,
      interrupts: listenForInterrupts(new EventEmitter()),
    });
    await sleep(50);
    end.resolve({ kind: "deployed", result: liveView });
    expect((await following).kind).toBe("ended");
    expect(asked).toBe(0);
  });

  test("the client's patience ends the following and not the run", async () => {
    const { renderer, seen } = recordingRenderer();
    const { run } = scriptedRun();
    const interrupts = listenForInterrupts(new EventEmitter());
    expect(await followRun({ run, renderer, buildLog: oneEntry, interrupts, timeoutMs: 20 })).toEqual({ kind: "wait expired" });
    expect(seen.at(-1)).toBe("end");
  });

  test("an outage is told once and is no verdict", async () => {
    const { renderer, seen } = recordingRenderer();
    const { run, end } = scriptedRun(true);
    const following = followRun({ run, renderer, buildLog: oneEntry, interrupts: listenForInterrupts(new EventEmitter()) });
    end.resolve({ kind: "deployed", result: liveView });
    expect((await following).kind).toBe("ended");
    expect(seen.filter((line) => line.startsWith("notice"))).toEqual(["notice Temporal does not answer; the run goes on, reconnecting"]);
  });

  test("Ctrl-C detaches", async () => {
    const { renderer } = recordingRenderer();
    const { run } = scriptedRun();
    const keys = new EventEmitter();
    const following = followRun({ run, renderer, buildLog: oneEntry, interrupts: listenForInterrupts(keys) });
    keys.emit("SIGINT");
    expect(await following).toEqual({ kind: "detached" });
  });
});

describe("listenForInterrupts", () => {
  test("one Ctrl-C detaches once its time is over", async () => {
    vi.useFakeTimers();
    try {
      const keys = new EventEmitter();
      using interrupts = listenForInterrupts(keys);
      keys.emit("SIGINT");
      expect(interrupts.detached.aborted).toBe(true);
      expect(interrupts.mayStillCancel).toBe(true);
      await vi.advanceTimersByTimeAsync(3000);
      expect(await interrupts.decision()).toBe("detach");
    } finally {
      vi.useRealTimers();
    }
  });

  test("a second Ctrl-C cancels", async () => {
    const keys = new EventEmitter();
    using interrupts = listenForInterrupts(keys);
    keys.emit("SIGINT");
    keys.emit("SIGINT");
    expect(await interrupts.decision()).toBe("cancel");
  });

  test("SIGTERM detaches at once, and nothing is listened to afterwards", async () => {
    const keys = new EventEmitter();
    {
      using interrupts = listenForInterrupts(keys);
      keys.emit("SIGTERM");
      expect(await interrupts.decision()).toBe("detach");
      expect(interrupts.mayStillCancel).toBe(false);
    }
    expect(keys.listenerCount("SIGINT") + keys.listenerCount("SIGTERM")).toBe(0);
  });
});
