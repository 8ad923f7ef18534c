import { defineQuery, defineSignal } from "@temporalio/workflow";
import type { AppState, GarbageReport, Release, ReplicationView, RunView, MachineView, TurnRequest } from "./types.ts";

/** `deploy`: the whole run as it stands. */
export const runQuery = defineQuery<RunView>("run");
/** `app` → `deploy`: it is your turn, with this version; `current` serves until you have proved yourself. */
export const turnGranted =
  defineSignal<[{ version: number; current?: { version: number; machines: readonly MachineView[] } }]>("turnGranted");
/** `app` → `deploy`: a newer run asked for the turn. */
export const turnSuperseded = defineSignal<[{ by: string }]>("turnSuperseded");

/** `app`: its state. */
export const appQuery = defineQuery<AppState>("app");
export const requestTurn = defineSignal<[TurnRequest]>("requestTurn");
/** The holder gives the turn back; with a release it becomes the current one. */
export const releaseTurn = defineSignal<
  [
    {
      workflowId: string;
      runId: string;
      outcome: "live" | "failed" | "cancelled";
      release?: Release;
      machines?: readonly MachineView[];
      url?: string;
    },
  ]
>("releaseTurn");

/** `replicateImage`: where it stands. */
export const replicationQuery = defineQuery<ReplicationView>("replication");

/** `collectGarbage`: what the phases that are over did. */
export const garbageQuery = defineQuery<Partial<GarbageReport>>("garbage");
