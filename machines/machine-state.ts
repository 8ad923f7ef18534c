import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Digest } from "../oci/digest.ts";
import type { Container } from "../proto/gen/services/containers/v1/containers_pb.ts";
import { type Process, Status } from "../proto/gen/types/task/task_pb.ts";
import type { MachineAddresses } from "./network/address-plan.ts";
import { machineLabels, type MachineState } from "./types.ts";

/** A machine as containerd has it: its container, and its task if there is one. */
export function machineState(
  org: string,
  container: Container,
  task: Process | undefined,
  addresses: MachineAddresses | undefined,
): MachineState {
  const labels = Object.fromEntries(Object.entries(container.labels).filter(([key]) => key.startsWith("slipway.")));
  const state = stateOf(task);
  return {
    org,
    id: container.id,
    labels,
    digest: labels[machineLabels.digest] as Digest,
    state,
    ...(task === undefined || state === "stopped" ? {} : { pid: task.pid }),
    ...(addresses === undefined ? {} : { address: addresses.ipv4 }),
    ...(task?.status === Status.STOPPED ? { exit: { code: task.exitStatus, atMs: milliseconds(task.exitedAt) } } : {}),
  };
}

function stateOf(task: Process | undefined): MachineState["state"] {
  if (task === undefined) return "stopped";
  if (task.status === Status.RUNNING) return "running";
  if (task.status === Status.PAUSED || task.status === Status.PAUSING) return "paused";
  return task.status === Status.CREATED ? "created" : "stopped";
}

function milliseconds(time: Timestamp | undefined): number {
  return time === undefined ? 0 : timestampMs(time);
}
