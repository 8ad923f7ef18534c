import { mkdir } from "node:fs/promises";
import { lockFile } from "../config/file-lock.ts";
import { createKeyedQueue } from "../config/keyed-queue.ts";
import type { Settings } from "../config/settings.ts";
import type { Containerd } from "../containerd/client.ts";
import { builderMachineId, type MachineState, type Machines } from "../machines/types.ts";
import { MachineError } from "../machines/errors.ts";
import { ensureCacheVolume, recordCacheVolume, removeCacheVolume } from "./cache-volume.ts";
import { type IdleStep, idleStep } from "./idle-policy.ts";
import { createIdleTimers } from "./idle-timers.ts";
import { type BuilderImage, ensureBuilderImage } from "./image.ts";
import { builderLabels, builderPlan } from "./machine-plan.ts";
import { builderAddress, builderLock, builderSocket, builderSocketDir } from "./names.ts";
import { awaitReady } from "./readiness.ts";

export type WakePhase = "starting" | "listening" | "ready";
export type WokenFrom = "running" | "suspended" | "stopped" | "absent";
export type WakeOptions = { readonly signal: AbortSignal; readonly onPhase?: (phase: WakePhase) => void };

/** `address` is for gRPC: `unix:<path>`. */
export type AwakeBuilder = { readonly address: string; readonly wokenFrom: WokenFrom };

export type BuilderStatus = { readonly state: "awake" | "asleep" | "absent"; readonly uses: number };

export type DiscardOptions = { readonly dropCache: boolean; readonly force: boolean };

/** The builders of this host, one per org, asleep unless used. */
export interface Builders extends AsyncDisposable {
  /** Starts the org's builder unless it runs, and answers once its API does. It falls asleep again as `builder.whenIdle` says. */
  wake(org: string, options: WakeOptions): Promise<AwakeBuilder>;
  /** Wakes it, and keeps it awake until the use is disposed. */
  acquire(org: string, options: WakeOptions): Promise<AwakeBuilder & AsyncDisposable>;
  status(org: string, signal: AbortSignal): Promise<BuilderStatus>;
  /** Freezes it now, unless it is in use (then answers false): it keeps its memory, and is awake again within milliseconds. */
  suspend(org: string, signal: AbortSignal): Promise<boolean>;
  /** Stops it now, unless it is in use (then answers false); its cache stays. */
  sleep(org: string, signal: AbortSignal): Promise<boolean>;
  /**
   * Removes its machine, so that the next wake makes a new one; unless it is in use and not forced (then answers false). The cache stays,
   * unless it is to be dropped.
   */
  discard(org: string, options: DiscardOptions, signal: AbortSignal): Promise<boolean>;
  /** Builders that an earlier process left awake or suspended get their idle timer back. */
  adopt(signal: AbortSignal): Promise<void>;
}

export type BuildersDeps = { readonly containerd: Containerd; readonly machines: Machines; readonly settings: Settings };

/** buildkitd answers within 0.3 s on an idle host; a big cache on a busy disk takes longer. */
const readyTimeoutMs = 30_000;
/** A running one answers at once, or is broken. */
const answerTimeoutMs = 5_000;
/** One that dies as it starts may have been killed by chance; one that does so each time is broken. */
const wakeAttempts = 3;
const stopOptions = { signal: "SIGTERM", timeoutMs: 10_000 } as const;
const killOptions = { signal: "SIGKILL", timeoutMs: 2_000 } as const;

export function createBuilders({ containerd, machines, settings }: BuildersDeps): Builders {
  const queue = createKeyedQueue();
  const uses = new Map<string, number>();
  const usesOf = (org: string): number => uses.get(org) ?? 0;
  const timers = createIdleTimers((org, action) => void rest(org, action));
  const armAwake = (org: string): void => timers.arm(org, idleStep(settings.builder, "awake"));

  /** One change of an org's builder at a time, also when two workers of the host run for a moment. Who gave up meanwhile changes nothing. */
  async function inTurn<T>(org: string, signal: AbortSignal, change: () => Promise<T>): Promise<T> {
    return await queue(org, async () => {
      await using _lock = await lockFile(builderLock(settings, org), () => undefined, signal);
      return await change();
    });
  }

  async function wake(org: string, options: WakeOptions): Promise<AwakeBuilder> {
    timers.disarm(org);
    try {
      return await inTurn(org, options.signal, () => {
        timers.disarm(org);
        return bringUp(org, options);
      });
    } finally {
      if (usesOf(org) === 0) armAwake(org);
    }
  }

  async function bringUp(org: string, options: WakeOptions): Promise<AwakeBuilder> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await bringUpOnce(org, options);
      } catch (error) {
        options.signal.throwIfAborted();
        if (attempt === wakeAttempts) throw error;
      }
    }
  }

  async function bringUpOnce(org: string, options: WakeOptions): Promise<AwakeBuilder> {
    const { signal } = options;
    const [image, found] = await Promise.all([
      ensureBuilderImage(containerd, settings, org, signal),
      machines.inspect(org, builderMachineId, signal),
    ]);
    const wokenFrom = wokenFromOf(found);
    const address = builderAddress(settings, org);
    if (found !== undefined && found.digest === image.digest && (await isUsable(org, found, options))) return { address, wokenFrom };
    if (found !== undefined && (found.digest !== image.digest || found.state !== "stopped")) {
      // the right image, and yet no answer: it would not listen to a polite signal either
      await machines.remove(org, builderMachineId, found.digest === image.digest ? killOptions : stopOptions, signal);
    }
    await start(org, image, options);
    return { address, wokenFrom };
  }

  /** Whether the machine runs and answers; one that does neither is to be replaced, its cache is a volume of its own. */
  async function isUsable(org: string, found: MachineState, { signal, onPhase }: WakeOptions): Promise<boolean> {
    if (found.state === "paused") await machines.resume(org, builderMachineId, signal);
    else if (found.state !== "running") return false;
    try {
      await awaitReady(builderSocket(settings, org), { signal, timeoutMs: answerTimeoutMs, hasEnded: () => hasEnded(org, signal) });
    } catch {
      signal.throwIfAborted();
      return false;
    }
    onPhase?.("ready");
    return true;
  }

  async function start(org: string, image: BuilderImage, { signal, onPhase }: WakeOptions): Promise<void> {
    onPhase?.("starting");
    await mkdir(builderSocketDir(settings, org), { recursive: true, mode: 0o700 });
    const volume = await ensureCacheVolume(settings, org, signal);
    try {
      await machines.start(builderPlan(settings, org, image, volume), signal);
    } catch (error) {
      if (!volume.userNamespace || !cannotMapOwners(error)) throw error;
      // nothing has run on it in that way
      await recordCacheVolume(settings, org, { ...volume, userNamespace: false });
      throw error;
    }
    await awaitReady(builderSocket(settings, org), {
      signal,
      timeoutMs: readyTimeoutMs,
      onListening: () => onPhase?.("listening"),
      hasEnded: () => hasEnded(org, signal),
    });
    onPhase?.("ready");
  }

  async function hasEnded(org: string, signal: AbortSignal): Promise<boolean> {
    const found = await machines.inspect(org, builderMachineId, signal);
    return found === undefined || found.state === "stopped";
  }

  async function acquire(org: string, options: WakeOptions): Promise<AwakeBuilder & AsyncDisposable> {
    uses.set(org, usesOf(org) + 1);
    let held = true;
    const release = () => {
      if (!held) return;
      held = false;
      uses.set(org, usesOf(org) - 1);
      if (usesOf(org) === 0) armAwake(org);
    };
    try {
      const builder = await wake(org, options);
      return { ...builder, [Symbol.asyncDispose]: async () => release() };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Answers false, and changes nothing, while it is in use and `force` does not say otherwise. */
  async function unlessUsed(org: string, signal: AbortSignal, change: () => Promise<void>, force = false): Promise<boolean> {
    return await inTurn(org, signal, async () => {
      if (usesOf(org) > 0 && !force) return false;
      timers.disarm(org);
      await change();
      return true;
    });
  }

  async function suspend(org: string, signal: AbortSignal): Promise<boolean> {
    return await unlessUsed(org, signal, async () => {
      const found = await machines.inspect(org, builderMachineId, signal);
      if (found?.state === "running") await machines.pause(org, builderMachineId, signal);
      if (found?.state === "running" || found?.state === "paused") timers.arm(org, idleStep(settings.builder, "suspended"));
    });
  }

  async function sleep(org: string, signal: AbortSignal): Promise<boolean> {
    return await unlessUsed(org, signal, async () => {
      const found = await machines.inspect(org, builderMachineId, signal);
      if (found?.state === "paused") await machines.resume(org, builderMachineId, signal);
      if (found?.state === "running" || found?.state === "paused") await machines.stop(org, builderMachineId, stopOptions, signal);
    });
  }

  async function discard(org: string, { dropCache, force }: DiscardOptions, signal: AbortSignal): Promise<boolean> {
    const remove = async (): Promise<void> => {
      await machines.remove(org, builderMachineId, force ? killOptions : stopOptions, signal);
      if (dropCache) await removeCacheVolume(settings, org, signal);
    };
    return await unlessUsed(org, signal, remove, force);
  }

  /** What cannot be frozen is stopped; what can be neither is tried again. */
  async function rest(org: string, action: IdleStep["action"]): Promise<void> {
    const signal = AbortSignal.timeout(60_000);
    try {
      if (action === "stop") await sleep(org, signal);
      else await suspend(org, signal).catch(() => sleep(org, signal));
    } catch {
      if (usesOf(org) === 0) armAwake(org);
    }
  }

  return {
    wake,
    acquire,
    suspend,
    sleep,
    discard,
    async status(org, signal) {
      const found = await machines.inspect(org, builderMachineId, signal);
      const state = found === undefined ? "absent" : found.state === "running" ? "awake" : "asleep";
      return { state, uses: usesOf(org) };
    },
    async adopt(signal) {
      for (const { org, state } of await machines.list({ labels: builderLabels }, signal)) {
        if (usesOf(org) > 0) continue;
        if (state === "running") armAwake(org);
        if (state === "paused") timers.arm(org, idleStep(settings.builder, "suspended"));
      }
    },
    [Symbol.asyncDispose]: async () => timers.close(),
  };
}

function wokenFromOf(found: MachineState | undefined): WokenFrom {
  if (found === undefined) return "absent";
  if (found.state === "running") return "running";
  return found.state === "paused" ? "suspended" : "stopped";
}

/** Not every file system can be shown with other owners (mount_setattr(2), MOUNT_ATTR_IDMAP). */
const cannotMapOwners = (error: unknown): boolean => error instanceof MachineError && /idmap/i.test(error.message);
