import type { Settings } from "../config/settings.ts";

/** What becomes of a builder that nobody uses, and after how long in the state that it is in. */
export type IdleStep = { readonly afterMs: number; readonly action: "suspend" | "stop" };

type IdleSettings = Pick<Settings["builder"], "idleTimeoutMs" | "whenIdle" | "suspendedForMs">;

/** A frozen one costs memory alone: that is worth a quarter of an hour, in which the next build of somebody at work comes. */
const defaultSuspendedForMs = 15 * 60_000;

/** Undefined: it stays as it is. One that is suspended while the settings say otherwise by now is stopped, too: it holds memory for nothing. */
export function idleStep(settings: IdleSettings, state: "awake" | "suspended"): IdleStep | undefined {
  const { whenIdle = "suspend", idleTimeoutMs, suspendedForMs = defaultSuspendedForMs } = settings;
  if (state === "suspended") return { afterMs: suspendedForMs, action: "stop" };
  return whenIdle === "off" ? undefined : { afterMs: idleTimeoutMs, action: whenIdle };
}
