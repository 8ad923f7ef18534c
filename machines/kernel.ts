import { existsSync, readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import type { SpecInput } from "./spec.ts";

/** What of the kernel a spec depends on; does not change while the host runs. */
export function readKernel(): SpecInput["kernel"] {
  const cgroup2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
  return {
    capabilities: BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)/m.exec(readFileSync("/proc/self/status", "utf8"))![1]!}`),
    cpuCount: Math.max(cpus().length, availableParallelism()),
    maxOpenFiles: maxOpenFiles(),
    swapAccounting: cgroup2 || existsSync("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"),
    cgroupVersion: cgroup2 ? 2 : 1,
  };
}

/** The hard limit of this process, which the host's containerd shares: raising it needs a capability that containers of CI lack. */
function maxOpenFiles(): number {
  const nrOpen = Number(readFileSync("/proc/sys/fs/nr_open", "utf8"));
  const hard = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return Math.min(nrOpen, hard === undefined ? nrOpen : Number(hard));
}
