import { readFile } from "node:fs/promises";
import path from "node:path";
import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { instancePaths } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import type { Digest } from "../oci/digest.ts";
import type { Container } from "../proto/gen/services/containers/v1/containers_pb.ts";
import { type Process, Status } from "../proto/gen/types/task/task_pb.ts";
import type { MachineAddresses } from "./network/address-plan.ts";
import { machineLabels, type MachineState } from "./types.ts";
import { writeFileAtomic } from "../config/write-file-atomic.ts";

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

const addressFile = (settings: Settings, org: string, id: string) =>
  path.join(instancePaths.machineDir(settings, org, id), "addresses.json");

export async function writeAddresses(settings: Settings, org: string, id: string, addresses: MachineAddresses): Promise<void> {
  await writeFileAtomic(addressFile(settings, org, id), JSON.stringify(addresses));
}

export async function readAddresses(settings: Settings, org: string, id: string): Promise<MachineAddresses | undefined> {
  const text = await readFile(addressFile(settings, org, id), "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as MachineAddresses);
}
