import type { ProcessName } from "../config/ready.ts";
import type { Settings } from "../config/settings.ts";
import { forgetProcess, runningProcess, stopProcess } from "./child-process.ts";
import { stackFiles } from "./files.ts";
import type { ProcessSpec } from "./process-spec.ts";

/** Groups that can be stopped together: a process stands in a group before those it was started after. */
export function stopGroups(specs: readonly ProcessSpec[]): ProcessSpec[][] {
  const groups: ProcessSpec[][] = [];
  let left = [...specs];
  while (left.length > 0) {
    const needed = new Set<ProcessName>(left.flatMap(({ after }) => after));
    const group = left.filter(({ name }) => !needed.has(name));
    if (group.length === 0) throw new Error(`Processes wait for each other: ${left.map(({ name }) => name).join(", ")}`);
    groups.push(group);
    left = left.filter((spec) => !group.includes(spec));
  }
  return groups;
}

export async function stopInOrder(settings: Settings, specs: readonly ProcessSpec[]): Promise<void> {
  for (const group of stopGroups(specs)) await Promise.all(group.map(async (spec) => await stopOne(settings, spec)));
}

export async function stopOne(settings: Settings, spec: Pick<ProcessSpec, "name" | "stopTimeoutMs">): Promise<void> {
  const { pidFile } = stackFiles.process(settings, spec.name);
  const identity = runningProcess(pidFile);
  if (identity !== undefined) await stopProcess(identity, spec.stopTimeoutMs);
  forgetProcess(pidFile);
}
