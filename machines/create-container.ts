import { create, toBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import path from "node:path";
import type { Settings } from "../config/settings.ts";
import type { ContainerdNamespace } from "../containerd/client.ts";
import type { Container } from "../proto/gen/services/containers/v1/containers_pb.ts";
import { OptionsSchema } from "../proto/gen/types/runc/options/oci_pb.ts";
import { type IdMapping } from "./id-mapping.ts";
import type { RuntimeSpec } from "./oci-spec.ts";
import { snapshotKeyOf } from "./prepare-snapshot.ts";
import { runcRuntime } from "./runtime.ts";
import { hasUserNamespace, machineLabels, type MachinePlan } from "./types.ts";

const specType = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const planType = "slipway/MachinePlan";
const planExtension = "slipway.plan";

/** Set on a machine that was stopped on purpose: it is not brought back. */
export const stoppedLabel = "slipway.stopped";

/** Set when a stopped machine is ready to be started as it is: its root filesystem is a new one. */
const standbyLabel = "slipway.standby";

/** The container record: what holds the machine's snapshot and image content against garbage collection while it exists. */
export async function createContainer(
  ctr: ContainerdNamespace,
  settings: Settings,
  machine: { readonly plan: MachinePlan; readonly spec: RuntimeSpec; readonly idMapping: IdMapping; readonly runtime: string },
  signal: AbortSignal,
): Promise<void> {
  const { plan } = machine;
  await ctr.containers.create(
    {
      container: {
        id: plan.id,
        labels: containerLabels(plan),
        image: plan.image.name,
        runtime: { name: machine.runtime, ...taskOptions(settings, machine) },
        spec: jsonAny(specType, machine.spec),
        snapshotter: settings.containerd.snapshotter,
        snapshotKey: snapshotKeyOf(plan.id),
        // the whole plan, so that a restarted host can start the machine again
        extensions: { [planExtension]: jsonAny(planType, plan) },
      },
    },
    { signal },
  );
}

/** For a machine that is started again: settings of the host may have changed since its container was created. */
export async function updateSpec(ctr: ContainerdNamespace, id: string, spec: RuntimeSpec, signal: AbortSignal): Promise<void> {
  await ctr.containers.update({ container: { id, spec: jsonAny(specType, spec) }, updateMask: { paths: ["spec"] } }, { signal });
}

export const standsBy = ({ labels }: Container): boolean => labels[standbyLabel] !== undefined;

export async function standBy(ctr: ContainerdNamespace, id: string, signal: AbortSignal): Promise<void> {
  const container = { id, labels: { [standbyLabel]: "true" } };
  await ctr.containers.update({ container, updateMask: { paths: [`labels.${standbyLabel}`] } }, { signal });
}

/** It is started: neither stopped on purpose nor untouched any more. */
export async function standNoMore(ctr: ContainerdNamespace, { id, labels }: Container, signal: AbortSignal): Promise<void> {
  const { [standbyLabel]: _standby, [stoppedLabel]: _stopped, ...others } = labels;
  await ctr.containers.update({ container: { id, labels: others }, updateMask: { paths: ["labels"] } }, { signal });
}

export function isMadeSo({ spec, runtime }: Container, expected: RuntimeSpec, expectedRuntime: string): boolean {
  return spec !== undefined && runtime?.name === expectedRuntime && new TextDecoder().decode(spec.value) === JSON.stringify(expected);
}

/** Labels of ours only, and the reference that keeps the image's content while the machine exists. */
export function containerLabels(plan: Pick<MachinePlan, "labels" | "image">): Record<string, string> {
  const foreign = Object.keys(plan.labels).find((key) => !key.startsWith("slipway."));
  if (foreign !== undefined) throw new TypeError(`Cannot label a machine "${foreign}": expected a label that starts with "slipway."`);
  return { ...plan.labels, [machineLabels.digest]: plan.image.digest, "containerd.io/gc.ref.content.image": plan.image.digest };
}

/** The plan a container was made from; undefined for a container that is not ours. */
export function planOf(container: Container): MachinePlan | undefined {
  const stored = container.extensions[planExtension];
  if (stored?.typeUrl !== planType) return undefined;
  return JSON.parse(new TextDecoder().decode(stored.value)) as MachinePlan;
}

/** A shim of another name may take other options: it has its own configuration. */
export function taskOptions(
  settings: Settings,
  { plan, idMapping, runtime }: { readonly plan: MachinePlan; readonly idMapping: IdMapping; readonly runtime: string },
): { options?: Any } {
  return runtime === runcRuntime ? { options: runcOptions(settings, plan, idMapping) } : {};
}

/** The shim's options: our runc with a state folder of the instance, and the machine's root as owner of the output pipes. */
function runcOptions(settings: Settings, plan: Pick<MachinePlan, "isolation" | "userNamespace">, idMapping: IdMapping): Any {
  const ioId = hasUserNamespace(plan) ? idMapping.hostID : 0;
  const options = create(OptionsSchema, {
    binaryName: path.join(settings.tools.binDir, "runc"),
    root: path.join(settings.runDir, "runc"),
    ioUid: ioId,
    ioGid: ioId,
  });
  return create(AnySchema, { typeUrl: OptionsSchema.typeName, value: toBinary(OptionsSchema, options) });
}

function jsonAny(typeUrl: string, value: unknown): Any {
  return create(AnySchema, { typeUrl, value: new TextEncoder().encode(JSON.stringify(value)) });
}
