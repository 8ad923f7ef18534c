import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { idleStep } from "../../../builder/idle-policy.ts";
import { createIdleTimers } from "../../../builder/idle-timers.ts";

describe("a builder that is idle", () => {
  it("is suspended after the time-out and stopped a quarter of an hour later, when the settings know of the time-out alone", () => {
    const settings = { idleTimeoutMs: 60_000 };
    expect(idleStep(settings, "awake")).toEqual({ afterMs: 60_000, action: "suspend" });
    expect(idleStep(settings, "suspended")).toEqual({ afterMs: 900_000, action: "stop" });
  });

  it("is stopped, or left awake, where the settings say so", () => {
    expect(idleStep({ idleTimeoutMs: 1, whenIdle: "stop" }, "awake")).toEqual({ afterMs: 1, action: "stop" });
    expect(idleStep({ idleTimeoutMs: 1, whenIdle: "off" }, "awake")).toBeUndefined();
  });

  it("does not stay frozen for ever under settings that freeze nothing", () => {
    expect(idleStep({ idleTimeoutMs: 1, whenIdle: "off", suspendedForMs: 5 }, "suspended")).toEqual({ afterMs: 5, action: "stop" });
  });
});

describe("idle timers", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("fire once for each org, with the step they were armed with last, and not when disarmed or closed", () => {
    const fired: string[] = [];
    const timers = createIdleTimers((org, action) => fired.push(`${org} ${action}`));
    timers.arm("a", { afterMs: 10, action: "suspend" });
    timers.arm("a", { afterMs: 20, action: "stop" });
    timers.arm("b", { afterMs: 10, action: "suspend" });
    timers.arm("c", { afterMs: 10, action: "suspend" });
    timers.arm("c", undefined);
    timers.disarm("b");
    vi.advanceTimersByTime(50);
    expect(fired).toEqual(["a stop"]);
    timers.close();
    timers.arm("a", { afterMs: 10, action: "stop" });
    vi.advanceTimersByTime(50);
    expect(fired).toEqual(["a stop"]);
  });
});
