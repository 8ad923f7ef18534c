import { instancePaths } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import { builderMachineId, type MachinePlan, machineLabels } from "../machines/types.ts";
import type { CacheVolume } from "./cache-volume.ts";
import type { BuilderImage } from "./image.ts";
import { builderSocketDir } from "./names.ts";

export const builderLabels = { [machineLabels.role]: "builder" } as const;

/** Build steps are processes of the builder: `make -j` and friends need room. */
const pidsLimit = 16_384;

/** The org's builder as a machine: with its cache volume, and its API socket in a folder of the host. */
export function builderPlan(settings: Settings, org: string, image: BuilderImage, { userNamespace }: CacheVolume): MachinePlan {
  return {
    org,
    id: builderMachineId,
    labels: { ...builderLabels, [machineLabels.digest]: image.digest },
    image,
    // on cgroup v2 a group with processes of its own has no controllers for those beneath: buildkitd moves itself into one, if told
    env: { BUILDKIT_SETUP_CGROUPV2_ROOT: "1" },
    isolation: "privileged",
    ...(userNamespace ? { userNamespace } : {}),
    standby: true,
    mounts: [
      { source: instancePaths.builderCache(settings, org), destination: "/var/lib/buildkit", readOnly: false },
      { source: builderSocketDir(settings, org), destination: "/run/buildkit", readOnly: false },
    ],
    limits: { memoryMb: settings.builder.memoryMb, cpus: settings.builder.cpus, pids: pidsLimit },
    hosts: [],
  };
}
