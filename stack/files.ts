import path from "node:path";
import { instancePaths } from "../config/paths.ts";
import type { ProcessName } from "../config/ready.ts";
import type { Settings } from "../config/settings.ts";
import type { ProcessFiles } from "./child-process.ts";

/** What the supervisor and its commands keep of an instance's processes. */
export const stackFiles = {
  process: (s: Settings, name: ProcessName | "supervisor"): ProcessFiles => ({
    pidFile: path.join(s.runDir, "pids", name),
    logFile: instancePaths.processLog(s, name),
  }),
  supervisorState: (s: Settings) => path.join(s.runDir, "supervisor.json"),
  /** held by `up` and `down`, one at a time */
  lock: (dataDir: string) => path.join(dataDir, "stack.lock"),
} as const;
