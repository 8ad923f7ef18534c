import { Status as GrpcStatus } from "nice-grpc";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { instancePaths } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import { type Containerd, type ContainerdNamespace, hasStatus, orUndefined } from "../containerd/client.ts";
import type { Mount } from "../proto/gen/types/mount_pb.ts";
import { allDone } from "./all-done.ts";
import { emptyCgroup, machineCgroup } from "./cgroup.ts";
import { createContainer, updateSpec } from "./create-container.ts";
import { createTask } from "./create-task.ts";
import { MachineError } from "./errors.ts";
import type { IdMapping } from "./id-mapping.ts";
import { type ImageConfig, readImageConfig } from "./image-config.ts";
import { resolveImageUser } from "./image-user.ts";
import { readKernel } from "./kernel.ts";
import { readLayerFile } from "./layer-file.ts";
import { readAddresses, writeAddresses } from "./machine-state.ts";
import type { AddressClaims } from "./network/address-claims.ts";
import { attachNetwork, detachNetwork } from "./network/attach-network.ts";
import { writeNameFiles } from "./network/name-files.ts";
import type { RuntimeSpec, SeccompProfile, SpecMount, SpecUser } from "./oci-spec.ts";
import { prepareSnapshot, removeSnapshot } from "./prepare-snapshot.ts";
import { processFailure } from "./process-failure.ts";
import { runtimeSpec } from "./spec.ts";
import { openStartLease, removeStartLease } from "./start-lease.ts";
import { stopTask } from "./stop-task.ts";
import type { MachinePlan, OrgNetwork } from "./types.ts";

export type StartDeps = {
  readonly containerd: Containerd;
  readonly settings: Settings;
  readonly namespace: string;
  readonly network: OrgNetwork;
  readonly addressClaims: AddressClaims;
  readonly idMapping: IdMapping;
  readonly seccomp: SeccompProfile;
};

/** From nothing to a started process. What it made is taken away again when a step fails. */
export async function startMachine(deps: StartDeps, plan: MachinePlan, signal: AbortSignal): Promise<void> {
  const bare = deps.containerd.namespace(deps.namespace);
  try {
    const mounts = await makeContainer(deps, bare, plan, signal);
    await run(deps, bare, plan, mounts, signal);
  } catch (error) {
    await clearMachine(bare, deps.settings, plan, AbortSignal.timeout(15_000));
    await detachNetwork(deps.settings, deps.network, plan.id, AbortSignal.timeout(15_000));
    throw asStartError(plan, error);
  }
}

/** As {@link startMachine}, from a container whose process is gone. The container stays when a step fails: it can be tried again. */
export async function restartMachine(deps: StartDeps, plan: MachinePlan, signal: AbortSignal): Promise<void> {
  const bare = deps.containerd.namespace(deps.namespace);
  const [inputs] = await allDone([gather(deps, bare, plan, signal), clearRun(bare, deps.settings, plan, signal)]);
  try {
    // the container holds the snapshot of this name, be it an old or a new one
    const { mounts, spec } = await prepare(deps, bare, plan, inputs, signal);
    await updateSpec(bare, plan.id, spec, signal);
    await run(deps, bare, plan, mounts, signal);
  } catch (error) {
    await clearRun(bare, deps.settings, plan, AbortSignal.timeout(15_000));
    throw asStartError(plan, error);
  }
}

type Inputs = { readonly image: ImageConfig; readonly nameFiles: readonly SpecMount[] };

async function gather(deps: StartDeps, ctr: ContainerdNamespace, plan: MachinePlan, signal: AbortSignal): Promise<Inputs> {
  const { settings, network } = deps;
  const [image, nameFiles] = await allDone([
    readImageConfig(ctr, plan.image.digest, signal),
    writeNameFiles(settings, network, plan),
    mkdir(path.dirname(instancePaths.machineLog(settings, plan.org, plan.id)), { recursive: true, mode: 0o700 }),
  ]);
  return { image, nameFiles };
}

async function makeContainer(
  deps: StartDeps,
  bare: ContainerdNamespace,
  plan: MachinePlan,
  signal: AbortSignal,
): Promise<readonly Mount[]> {
  const { containerd, settings, namespace, idMapping } = deps;
  // before the image is looked at, and before an earlier container lets go of it
  await using lease = await openStartLease(containerd, namespace, plan, signal);
  const [inputs] = await allDone([gather(deps, bare, plan, signal), clearContainer(bare, settings, plan, signal)]);
  const { mounts, spec } = await prepare(deps, lease.namespace, plan, inputs, signal);
  await createContainer(lease.namespace, settings, { plan, spec, idMapping }, signal);
  return mounts;
}

async function prepare(
  { settings, idMapping, seccomp }: StartDeps,
  ctr: ContainerdNamespace,
  plan: MachinePlan,
  { image, nameFiles }: Inputs,
  signal: AbortSignal,
): Promise<{ readonly mounts: readonly Mount[]; readonly spec: RuntimeSpec }> {
  const mounts = await prepareSnapshot(ctr, settings.containerd.snapshotter, { plan, chainId: image.chainId, idMapping }, signal);
  const user = await resolveImageUser(image.user, {
    passwd: () => readLayerFile(mounts, "/etc/passwd"),
    group: () => readLayerFile(mounts, "/etc/group"),
  });
  if (plan.isolation === "sandboxed") checkMapped(user, idMapping);
  const spec = runtimeSpec({
    plan,
    image,
    user,
    idMapping,
    cgroupsPath: machineCgroup(settings.instance, plan.org, plan.id),
    nameFiles,
    seccomp: plan.isolation === "sandboxed" ? seccomp : undefined,
    kernel: readKernel(),
  });
  return { mounts, spec };
}

async function run(
  deps: StartDeps,
  ctr: ContainerdNamespace,
  plan: MachinePlan,
  mounts: readonly Mount[],
  signal: AbortSignal,
): Promise<void> {
  const { settings, network, idMapping, addressClaims } = deps;
  const { org, id } = plan;
  const pid = await createTask(ctr, settings, { plan, mounts, idMapping }, signal);
  const earlier = await readAddresses(settings, org, id);
  using claim = await addressClaims.claim(network, id, earlier);
  const { addresses, reservedBefore } = claim;
  if (!isDeepStrictEqual(addresses, earlier)) await writeAddresses(settings, org, id, addresses);
  if (reservedBefore) await detachNetwork(settings, network, id, signal);
  await attachNetwork(settings, network, { id, pid, addresses }, signal);
  await ctr.tasks.start({ containerId: id }, { signal });
}

/** Takes away process, container, snapshot and a start's lease, in whatever half-made state they are. */
export async function clearMachine(
  ctr: ContainerdNamespace,
  settings: Settings,
  { org, id }: Pick<MachinePlan, "org" | "id">,
  signal: AbortSignal,
): Promise<void> {
  await clearContainer(ctr, settings, { org, id }, signal);
  await removeStartLease(ctr, id, signal);
}

async function clearContainer(
  ctr: ContainerdNamespace,
  settings: Settings,
  { org, id }: Pick<MachinePlan, "org" | "id">,
  signal: AbortSignal,
): Promise<void> {
  await endProcess(ctr, settings, { org, id }, signal);
  await orUndefined(ctr.containers.delete({ id }, { signal }));
  await removeSnapshot(ctr, settings.containerd.snapshotter, id, signal);
}

async function clearRun(ctr: ContainerdNamespace, settings: Settings, plan: MachinePlan, signal: AbortSignal): Promise<void> {
  await endProcess(ctr, settings, plan, signal);
  await removeSnapshot(ctr, settings.containerd.snapshotter, plan.id, signal);
}

async function endProcess(
  ctr: ContainerdNamespace,
  settings: Settings,
  { org, id }: Pick<MachinePlan, "org" | "id">,
  signal: AbortSignal,
): Promise<void> {
  await stopTask(ctr, id, { signal: "SIGKILL", timeoutMs: 0 }, signal);
  await emptyCgroup(machineCgroup(settings.instance, org, id), 10_000, signal);
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
  const ofImage = processFailure(plan, message);
  if (ofImage !== undefined) return ofImage;
  return new MachineError("START_FAILED", `Cannot start machine "${plan.id}" of org "${plan.org}": ${message}`, { cause: error });
}
