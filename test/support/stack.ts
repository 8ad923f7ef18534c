import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { ProcessName } from "../../config/ready.ts";
import type { Settings } from "../../config/settings.ts";
import { runningProcess, sendSignal } from "../../stack/child-process.ts";
import { down } from "../../stack/down.ts";
import { stackFiles } from "../../stack/files.ts";
import { stackStatus, type StackStatus } from "../../stack/status.ts";
import { type UpOptions, up } from "../../stack/up.ts";
import { makeOwnedDir, removeOwnedDir } from "./owned-dir.ts";

export type TestStack = AsyncDisposable & {
  readonly settings: Settings;
  readonly dataDir: string;
  /** kill -9 of one process; its supervisor starts it again. @returns the pid that was killed */
  kill(name: ProcessName | "supervisor"): number;
  status(): Promise<StackStatus>;
  /** again, as after a reboot of Slipway alone */
  up(): Promise<{ changed: boolean }>;
  /** `slipway down --purge`; throws when anything is left on the host */
  stop(): Promise<void>;
};

/** A whole instance of its own in a folder of its own, on whatever ports are free, beside any other. */
export async function startTestStack(
  amend: (settings: Settings) => Settings = (settings) => settings,
  more: Pick<UpOptions, "containerdSocket"> = {},
): Promise<TestStack> {
  const dir = await makeOwnedDir();
  const dataDir = path.join(dir, "data");
  const options = { dataDir, runDir: path.join(dir, "run"), ports: "any", amend, ...more } as const;
  const signal = () => AbortSignal.timeout(600_000);
  let stopped = false;

  async function stop(): Promise<void> {
    if (stopped) return;
    stopped = true;
    try {
      await down({ dataDir, purge: true }, () => undefined, signal());
    } finally {
      await removeOwnedDir(dir);
    }
  }

  try {
    await mkdir(dataDir);
    const { settings } = await up(options, () => undefined, signal());
    return {
      settings,
      dataDir,
      kill: (name) => killOne(settings, name),
      status: async () => await stackStatus(settings),
      up: async () => await up(options, () => undefined, signal()),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop().catch((cause: unknown) => console.error(cause));
    throw error;
  }
}

function killOne(settings: Settings, name: ProcessName | "supervisor"): number {
  const identity = runningProcess(stackFiles.process(settings, name).pidFile);
  if (identity === undefined || !sendSignal(identity, "SIGKILL")) throw new Error(`Cannot kill ${name}: it does not run`);
  return identity.pid;
}
