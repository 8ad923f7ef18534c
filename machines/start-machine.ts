import { Status as GrpcStatus } from "nice-grpc";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { instancePaths } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import { type Containerd, type ContainerdNamespace, hasStatus, orUndefined } from "../containerd/client.ts";
import { emptyCgroup, machineCgroup } from "./cgroup.ts";
import { createContainer } from "./create-container.ts";
import { createTask } from "./create-task.ts";
import { MachineError } from "./errors.ts";
import type { IdMapping } from "./id-mapping.ts";
import { readImageConfig } from "./image-config.ts";
import { resolveImageUser } from "./image-user.ts";
import { readKernel } from "./kernel.ts";
import { readLayerFile } from "./layer-file.ts";
import { writeAddresses } from "./machine-state.ts";
import { attachNetwork } from "./network/attach-network.ts";
import { writeNameFiles } from "./network/name-files.ts";
import type { SeccompProfile, SpecUser } from "./oci-spec.ts";
import { prepareSnapshot, removeSnapshot } from "./prepare-snapshot.ts";
import { runtimeSpec } from "./spec.ts";
import { stopTask } from "./stop-task.ts";
import type { MachinePlan, OrgNetwork } from "./types.ts";

export type StartDeps = {
  readonly containerd: Containerd;
  readonly settings: Settings;
  readonly namespace: string;
  readonly network: OrgNetwork;
  readonly idMapping: IdMapping;
  readonly seccomp: SeccompProfile;
};

/** From nothing to a started process. What it made is taken away again when a step fails. */
export async function startMachine(deps: StartDeps, plan: MachinePlan, signal: AbortSignal): Promise<void> {
  const { containerd, settings, idMapping, network } = deps;
  await using lease = await openLease(containerd, deps.namespace, plan.id, signal);
  const ctr = lease.ctr;
  try {
    const image = await readImageConfig(ctr, plan.image.digest, signal);
    const mounts = await prepareSnapshot(ctr, settings.containerd.snapshotter, { plan, chainId: image.chainId, idMapping }, signal);
    const user = await resolveImageUser(image.user, {
      passwd: () => readLayerFile(mounts, "/etc/passwd"),
      group: () => readLayerFile(mounts, "/etc/group"),
    });
    if (plan.isolation === "sandboxed") checkMapped(user, idMapping);
    const nameFiles = await writeNameFiles(settings, network, plan);
    await mkdir(path.dirname(instancePaths.machineLog(settings, plan.org, plan.id)), { recursive: true, mode: 0o700 });
    const spec = runtimeSpec({
      plan,
      image,
      user,
      idMapping,
      cgroupsPath: machineCgroup(settings.instance, plan.org, plan.id),
      nameFiles,
      seccomp: plan.isolation === "sandboxed" ? deps.seccomp : undefined,
      kernel: readKernel(),
    });
    await createContainer(ctr, settings, { plan, spec, idMapping }, signal);
    const pid = await createTask(ctr, settings, { plan, mounts, idMapping }, signal);
    await writeAddresses(settings, plan.org, plan.id, await attachNetwork(settings, network, { id: plan.id, pid }, signal));
    await ctr.tasks.start({ containerId: plan.id }, { signal });
  } catch (error) {
    await clearMachine(ctr, settings, plan, AbortSignal.timeout(15_000));
    throw asStartError(plan, error);
  }
}

/** Takes away process, container and snapshot, in whatever half-made state they are. */
export async function clearMachine(
  ctr: ContainerdNamespace,
  settings: Settings,
  { org, id }: Pick<MachinePlan, "org" | "id">,
  signal: AbortSignal,
): Promise<void> {
  await stopTask(ctr, id, { signal: "SIGKILL", timeoutMs: 0 }, signal);
  await emptyCgroup(machineCgroup(settings.instance, org, id), 10_000, signal);
  await orUndefined(ctr.containers.delete({ id }, { signal }));
  await removeSnapshot(ctr, settings.containerd.snapshotter, id, signal);
}

/** Between its preparation and the container record nothing but this lease holds the snapshot. */
async function openLease(containerd: Containerd, namespace: string, machineId: string, signal: AbortSignal) {
  const bare = containerd.namespace(namespace);
  const id = `machine/${machineId}/${crypto.randomUUID()}`;
  const expires = new Date(Date.now() + 10 * 60_000).toISOString().replace(/\.\d+/, "");
  await bare.leases.create({ id, labels: { "containerd.io/gc.expire": expires } }, { signal });
  return {
    ctr: containerd.namespace(namespace, id),
    // it expires by itself when containerd is away just now
    [Symbol.asyncDispose]: async () =>
      void (await bare.leases.delete({ id }, { signal: AbortSignal.timeout(5000) }).catch(() => undefined)),
  };
}

function checkMapped({ uid, gid, additionalGids = [] }: SpecUser, { size }: IdMapping): void {
  const outside = [uid, gid, ...additionalGids].find((id) => id >= size);
  if (outside === undefined) return;
  throw new MachineError("USER_INVALID", `Cannot run as USER: id ${outside} is not within the machine's ${size} ids; choose a smaller one`);
}

function asStartError(plan: MachinePlan, error: unknown): unknown {
  if (error instanceof MachineError || hasStatus(error, GrpcStatus.CANCELLED)) return error;
  if (error instanceof Error && error.name === "AbortError") return error;
  const message = error instanceof Error ? error.message : String(error);
  return new MachineError("START_FAILED", `Cannot start machine "${plan.id}" of org "${plan.org}": ${message}`, { cause: error });
}
