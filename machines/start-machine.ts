import { Status as GrpcStatus } from "nice-grpc";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { instancePaths } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import { type Containerd, type ContainerdNamespace, hasStatus, orUndefined } from "../containerd/client.ts";
import type { Container } from "../proto/gen/services/containers/v1/containers_pb.ts";
import type { Mount } from "../proto/gen/types/mount_pb.ts";
import { allDone } from "./all-done.ts";
import { emptyCgroup, machineCgroup } from "./cgroup.ts";
import { createContainer, isMadeSo, planOf, standNoMore, standsBy, updateSpec } from "./create-container.ts";
import { createTask } from "./create-task.ts";
import { MachineError } from "./errors.ts";
import type { IdMapping } from "./id-mapping.ts";
import { type ImageConfig, readImageConfig } from "./image-config.ts";
import { resolveImageUser } from "./image-user.ts";
import { readKernel } from "./kernel.ts";
import { readLayerFile } from "./layer-file.ts";
import { readAddresses, writeAddresses } from "./network/address-file.ts";
import type { AddressClaims } from "./network/address-claims.ts";
import type { MachineAddresses } from "./network/address-plan.ts";
import { attachNetwork, detachNetwork } from "./network/attach-network.ts";
import { writeNameFiles } from "./network/name-files.ts";
import {
  makeStandingNetwork,
  recordStandingNetwork,
  removeStandingNetwork,
  standingFiles,
  standsAttached,
} from "./network/standing-network.ts";
import type { RuntimeSpec, SeccompProfile, SpecMount, SpecUser } from "./oci-spec.ts";
import { prepareSnapshot, removeSnapshot, snapshotKeyOf } from "./prepare-snapshot.ts";
import { processFailure } from "./process-failure.ts";
import { runcRuntime } from "./runtime.ts";
import { runtimeSpec } from "./spec.ts";
import { openStartLease, removeStartLease } from "./start-lease.ts";
import { stopTask } from "./stop-task.ts";
import { hasUserNamespace, type MachinePlan, type OrgNetwork } from "./types.ts";

export type StartDeps = {
  readonly containerd: Containerd;
  readonly settings: Settings;
  readonly namespace: string;
  readonly network: OrgNetwork;
  readonly addressClaims: AddressClaims;
  readonly idMapping: IdMapping;
  readonly seccomp: SeccompProfile;
  readonly runtime: string;
};

/** Whether its network is there before its processes: kept, or because a runtime other than runc looks for it when it makes them. */
const connectsFirst = ({ runtime }: StartDeps, plan: MachinePlan): boolean => plan.standby === true || runtime !== runcRuntime;

/** From nothing, or from what stands by, to a started process. What it made is taken away again when a step fails. */
export async function startMachine(deps: StartDeps, plan: MachinePlan, signal: AbortSignal): Promise<void> {
  const bare = deps.containerd.namespace(deps.namespace);
  try {
    const standing = plan.standby === true ? await whatStandsBy(deps, bare, plan, signal) : undefined;
    if (standing !== undefined) return await runStanding(deps, bare, plan, standing, signal);
    const mounts = await makeContainer(deps, bare, plan, signal);
    await run(deps, bare, plan, mounts, signal);
  } catch (error) {
    await clearMachine(bare, deps.settings, plan, AbortSignal.timeout(15_000));
    await removeStandingNetwork(deps.settings, plan, AbortSignal.timeout(15_000));
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
    if (connectsFirst(deps, plan)) await connectStanding(deps, plan, signal);
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
  const make = async (): Promise<readonly Mount[]> => {
    const { mounts, spec } = await prepare(deps, lease.namespace, plan, inputs, signal);
    await createContainer(lease.namespace, settings, { plan, spec, idMapping, runtime: deps.runtime }, signal);
    return mounts;
  };
  const [mounts] = await allDone([make(), connectsFirst(deps, plan) ? connectStanding(deps, plan, signal) : undefined]);
  return mounts;
}

type Standing = { readonly container: Container; readonly mounts: readonly Mount[] };

/** What a machine that was stopped keeps for its next start, if all of it is there and as it would be made now. */
async function whatStandsBy(
  deps: StartDeps,
  bare: ContainerdNamespace,
  plan: MachinePlan,
  signal: AbortSignal,
): Promise<Standing | undefined> {
  const { settings, network } = deps;
  const [found, attached] = await allDone([
    orUndefined(bare.containers.get({ id: plan.id }, { signal })),
    standsAttached(settings, network, plan),
  ]);
  const container = found?.container;
  if (!attached || container === undefined || !standsBy(container) || !isDeepStrictEqual(planOf(container), plan)) return undefined;
  const [inputs, snapshot] = await allDone([
    gather(deps, bare, plan, signal),
    orUndefined(bare.snapshots.mounts({ snapshotter: settings.containerd.snapshotter, key: snapshotKeyOf(plan.id) }, { signal })),
    endProcess(bare, settings, plan, signal),
  ]);
  if (snapshot === undefined) return undefined;
  const spec = await specOf(deps, plan, inputs, snapshot.mounts);
  return isMadeSo(container, spec, deps.runtime) ? { container, mounts: snapshot.mounts } : undefined;
}

async function runStanding(
  deps: StartDeps,
  bare: ContainerdNamespace,
  plan: MachinePlan,
  { container, mounts }: Standing,
  signal: AbortSignal,
): Promise<void> {
  await allDone([
    standNoMore(bare, container, signal),
    createTask(bare, deps.settings, { plan, mounts, idMapping: deps.idMapping, runtime: deps.runtime }, signal),
  ]);
  await bare.tasks.start({ containerId: plan.id }, { signal });
}

/** A network namespace of its own, with the machine's addresses, to be joined by its process. */
async function connectStanding(deps: StartDeps, plan: MachinePlan, signal: AbortSignal): Promise<void> {
  const { settings, network } = deps;
  if (await standsAttached(settings, network, plan)) return;
  await makeStandingNetwork(settings, plan, hasUserNamespace(plan) ? deps.idMapping : undefined, signal);
  await recordStandingNetwork(settings, plan, await connect(deps, plan, standingFiles(settings, plan).network, signal));
}

async function prepare(
  deps: StartDeps,
  ctr: ContainerdNamespace,
  plan: MachinePlan,
  inputs: Inputs,
  signal: AbortSignal,
): Promise<{ readonly mounts: readonly Mount[]; readonly spec: RuntimeSpec }> {
  const { settings, idMapping } = deps;
  const { chainId } = inputs.image;
  const mounts = await prepareSnapshot(ctr, settings.containerd.snapshotter, { plan, chainId, idMapping }, signal);
  return { mounts, spec: await specOf(deps, plan, inputs, mounts) };
}

async function specOf(deps: StartDeps, plan: MachinePlan, { image, nameFiles }: Inputs, mounts: readonly Mount[]): Promise<RuntimeSpec> {
  const { settings, idMapping, seccomp } = deps;
  const user = await resolveImageUser(image.user, {
    passwd: () => readLayerFile(mounts, "/etc/passwd"),
    group: () => readLayerFile(mounts, "/etc/group"),
  });
  if (hasUserNamespace(plan)) checkMapped(user, idMapping);
  return runtimeSpec({
    plan,
    image,
    user,
    idMapping,
    cgroupsPath: machineCgroup(settings.instance, plan.org, plan.id),
    nameFiles,
    ...(connectsFirst(deps, plan) ? { standing: standingFiles(settings, plan) } : {}),
    seccomp,
    kernel: readKernel(),
  });
}

async function run(
  deps: StartDeps,
  ctr: ContainerdNamespace,
  plan: MachinePlan,
  mounts: readonly Mount[],
  signal: AbortSignal,
): Promise<void> {
  const pid = await createTask(ctr, deps.settings, { plan, mounts, idMapping: deps.idMapping, runtime: deps.runtime }, signal);
  if (!connectsFirst(deps, plan)) await connect(deps, plan, `/proc/${pid}/ns/net`, signal);
  await ctr.tasks.start({ containerId: plan.id }, { signal });
}

type Connected = { readonly port: string; readonly addresses: MachineAddresses };

/** The addresses that it had, or others, for a network namespace without any. */
async function connect(deps: StartDeps, plan: MachinePlan, netns: string, signal: AbortSignal): Promise<Connected> {
  const { settings, network, addressClaims } = deps;
  const { org, id } = plan;
  const earlier = await readAddresses(settings, org, id);
  using claim = await addressClaims.claim(network, id, earlier);
  const { addresses, reservedBefore } = claim;
  if (!isDeepStrictEqual(addresses, earlier)) await writeAddresses(settings, org, id, addresses);
  if (reservedBefore) await detachNetwork(settings, network, id, signal);
  const port = await attachNetwork(settings, network, { id, netns, addresses }, signal);
  return { port, addresses };
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
