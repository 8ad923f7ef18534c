import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { type TurnOutcome, emptyAppState, granted, released, requested } from "../../../workflows/app-state.ts";
import { workflowIds } from "../../../workflows/ids.ts";
import type { AppState, Release, TurnRequest } from "../../../workflows/types.ts";

const digest = digestOf("image");

function request(key: string, requestedAtMs: number): TurnRequest {
  return { workflowId: workflowIds.deploy("acme", "web", key), runId: `run-${key}`, key, requestedAtMs, host: "local" };
}

function release(of: TurnRequest, version: number): Release {
  return {
    org: "acme",
    app: "web",
    version,
    key: of.key,
    runId: of.runId,
    image: { name: "registry.example/acme/web:1", digest },
    source: { repository: parseRepository("acme/web"), digest, sizeBytes: 1 },
    config: {
      app: "web",
      env: {},
      build: { dockerfile: "Dockerfile", args: {} },
      groups: [],
      waitTimeoutMs: 1,
      killTimeoutMs: 1,
      killSignal: "SIGTERM",
    },
    createdAtMs: of.requestedAtMs,
  };
}

function ended(of: TurnRequest, outcome: TurnOutcome["outcome"], version = 1): TurnOutcome {
  const end = { workflowId: of.workflowId, runId: of.runId, outcome, atMs: of.requestedAtMs + 10 };
  return outcome === "live" ? { ...end, release: release(of, version), machines: [] } : end;
}

/** Asks, then grants if the turn is free: what the workflow does for each message. */
function ask(state: AppState, of: TurnRequest) {
  const asked = requested(state, of);
  const turn = granted(asked.state);
  return { state: turn.state, notices: [...asked.notices, ...turn.notices] };
}

describe("the turns of an app", () => {
  const [first, second, third] = [request("a", 100), request("b", 200), request("c", 300)];

  it("go to the first who asks, with version 1", () => {
    const { state, notices } = ask(emptyAppState, first);
    expect(notices).toEqual([{ kind: "granted", to: { ...first, version: 1 } }]);
    expect(state.holder).toMatchObject({ key: "a", version: 1 });
  });

  it("are granted again, not twice, to a holder that asks again", () => {
    const { state } = ask(emptyAppState, first);
    const again = ask(state, first);
    expect(again.notices).toEqual([{ kind: "granted", to: { ...first, version: 1 } }]);
    expect(again.state).toEqual(state);
  });

  it("leave the holder alone when a newer run asks, and supersede an older one that waits", () => {
    let { state } = ask(emptyAppState, first);
    state = ask(state, second).state;
    const { state: last, notices } = ask(state, third);
    expect(notices).toEqual([{ kind: "superseded", to: second, by: third.workflowId }]);
    expect(last.holder).toMatchObject({ key: "a" });
    expect(last.waiting).toEqual([third]);
  });

  it("supersede an older run that comes after a newer one went live", () => {
    let { state } = ask(emptyAppState, second);
    state = released(state, ended(second, "live"));
    const { state: after, notices } = ask(state, first);
    expect(notices).toEqual([{ kind: "superseded", to: first, by: second.workflowId }]);
    expect(after.holder).toBeUndefined();
  });

  it("let an older run go on when the newer one failed", () => {
    let { state } = ask(emptyAppState, second);
    state = released(state, ended(second, "failed"));
    const { notices } = ask(state, first);
    expect(notices).toEqual([{ kind: "granted", to: { ...first, version: 2 } }]);
  });

  it("keep the current release when the holder fails, and never use its version again", () => {
    let { state } = ask(emptyAppState, first);
    state = released(state, ended(first, "live"));
    state = ask(state, second).state;
    state = released(state, ended(second, "failed"));
    expect(state.current?.release.version).toBe(1);
    expect(ask(state, third).state.holder?.version).toBe(3);
  });

  it("are not given back by a run that does not hold them", () => {
    const { state } = ask(emptyAppState, first);
    expect(released(state, ended(second, "live")).holder).toMatchObject({ key: "a" });
  });

  it("forget a waiting run that was cancelled", () => {
    let { state } = ask(emptyAppState, first);
    state = ask(state, second).state;
    state = released(state, ended(second, "cancelled"));
    expect(state.waiting).toEqual([]);
    expect(state.history).toEqual([]);
  });

  it("hold whatever the order of messages: one holder, versions strictly increase, nobody both waits and holds", () => {
    const runs = Array.from({ length: 6 }, (_, index) => request(`k${index}`, index * 100));
    const message = fc.oneof(
      fc.record({ kind: fc.constant("ask" as const), run: fc.constantFrom(...runs) }),
      fc.record({
        kind: fc.constant("end" as const),
        run: fc.constantFrom(...runs),
        outcome: fc.constantFrom("live" as const, "failed" as const, "cancelled" as const, "lost" as const),
      }),
    );
    fc.assert(
      fc.property(fc.array(message, { maxLength: 60 }), (messages) => {
        let state = emptyAppState;
        const versions: number[] = [];
        for (const sent of messages) {
          const before = state.holder;
          if (sent.kind === "ask") state = ask(state, sent.run).state;
          else {
            state = released(state, ended(sent.run, sent.outcome, before?.version));
            state = granted(state).state;
          }
          if (state.holder !== undefined && state.holder.version !== before?.version) versions.push(state.holder.version);
          expect(state.waiting.length).toBeLessThanOrEqual(1);
          expect(state.waiting.some(({ runId }) => runId === state.holder?.runId)).toBe(false);
        }
        expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => a - b));
      }),
    );
  });
});
