import path from "node:path";
import { containerLabels } from "./create-container.ts";
import { MachineError } from "./errors.ts";
import type { MachinePlan } from "./types.ts";

/** containerd's identifiers: 76 characters at most; here also part of paths, hostnames and cgroups. */
const machineId = /^[a-z0-9]([a-z0-9._-]{0,74}[a-z0-9])?$/;

export const isMachineId = (text: string): boolean => machineId.test(text) && !text.includes("..");

/** @throws MachineError PLAN_INVALID naming the field. */
export function checkPlan(plan: MachinePlan): void {
  const refuse = (field: string, found: string, expected: string): never => {
    throw new MachineError("PLAN_INVALID", `Cannot start machine "${plan.id}": ${field} is ${found}, expected ${expected}`);
  };
  if (!isMachineId(plan.id)) refuse("id", JSON.stringify(plan.id), "1 to 76 of a-z, 0-9, dot, dash and underscore");
  if (!isMachineId(plan.org)) refuse("org", JSON.stringify(plan.org), "1 to 76 of a-z, 0-9, dot, dash and underscore");
  const { memoryMb, cpus, pids } = plan.limits;
  if (!(memoryMb >= 8)) refuse("limits.memoryMb", String(memoryMb), "at least 8");
  if (!(cpus > 0)) refuse("limits.cpus", String(cpus), "more than 0");
  if (!(Number.isInteger(pids) && pids >= 1)) refuse("limits.pids", String(pids), "at least 1");
  for (const mount of plan.mounts) {
    if (!path.isAbsolute(mount.source) || !path.isAbsolute(mount.destination)) refuse("mounts", JSON.stringify(mount), "absolute paths");
  }
  for (const { name, address } of plan.hosts) {
    if (/\s/.test(name) || /\s/.test(address)) refuse("hosts", JSON.stringify({ name, address }), "no white space");
  }
  containerLabels(plan);
}
