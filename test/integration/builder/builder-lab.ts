import { readFileSync } from "node:fs";
import { inject } from "vitest";
import type { BuildEvent } from "../../../builder/buildkit/progress.ts";
import { type SolveInput, type SolveOutput, solve } from "../../../builder/buildkit/solve.ts";
import { type Builders, createBuilders } from "../../../builder/builders.ts";
import type { Settings } from "../../../config/settings.ts";
import { cgroupPids, machineCgroup } from "../../../machines/cgroup.ts";
import { builderMachineId, type MachineState } from "../../../machines/types.ts";
import { type MachineLab, openMachineLab } from "../machines/support/lab.ts";
import { type StandIn, openStandIn, tarOf } from "./stand-in.ts";

export type LabBuildOptions = Pick<SolveInput, "entitlements"> & {
  /** of the image within the org; web:1 */
  readonly name?: string;
};

export type BuilderLab = AsyncDisposable & {
  readonly lab: MachineLab;
  readonly org: string;
  readonly settings: Settings;
  readonly mirror: StandIn;
  /** Builders of this lab's host with other settings; they are closed with the lab. */
  open(builder?: Partial<Settings["builder"]>, deps?: Partial<Pick<MachineLab, "machines">>): Builders;
  /** Builds `FROM scratch` with busybox and these lines, and pushes. */
  build(address: string, lines: string, options?: LabBuildOptions): Promise<SolveOutput & { readonly lines: readonly string[] }>;
  machine(): Promise<MachineState | undefined>;
  /** Of each process in the builder's cgroup. */
  programs(): Promise<readonly string[]>;
};

const signal = AbortSignal.timeout(280_000);

export const busyboxLines = `FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
`;

/** An org with its network, something that stands where the mirror would, and builders that run there. */
export async function openBuilderLab(): Promise<BuilderLab> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(
    await openMachineLab({
      containerdSocket: inject("containerdSocket"),
      toolsBinDir: inject("toolsBinDir"),
      toolsShareDir: inject("toolsShareDir"),
    }),
  );
  const { settings, machines, containerd } = lab;
  const org = lab.orgs[0];
  const network = await machines.ensureNetwork(org, signal);
  const mirror = stack.use(await openStandIn(network.gatewayIpv4, settings.mirror.port));
  stack.defer(() => machines.remove(org, builderMachineId, { signal: "SIGKILL", timeoutMs: 0 }, signal));
  const opened = stack.move();
  return {
    lab,
    org,
    settings,
    mirror,
    open: (builder = {}, deps = {}) =>
      opened.use(
        createBuilders({ containerd, machines, ...deps, settings: { ...settings, builder: { ...settings.builder, ...builder } } }),
      ),
    async build(address, dockerfile, { name = "web:1", ...input } = {}) {
      const lines: string[] = [];
      const onEvent = (event: BuildEvent) => void (event.type === "log" && lines.push(event.line));
      const source = await tarOf({ Dockerfile: `${busyboxLines}${dockerfile}`, busybox: readFileSync("/bin/busybox") });
      const output = await solve(
        {
          address,
          contextUrl: `http://_api.internal:${settings.mirror.port}${mirror.addSource(source)}`,
          dockerfile: "Dockerfile",
          buildArgs: {},
          labels: {},
          noCache: false,
          imageName: `${settings.registry.imageHost}/${org}/${name}`,
          ...input,
        },
        { signal, onEvent },
      );
      return { ...output, lines };
    },
    machine: () => machines.inspect(org, builderMachineId, signal),
    async programs() {
      const pids = await cgroupPids(machineCgroup(settings.instance, org, builderMachineId));
      return pids.map((pid) => readFileSync(`/proc/${pid}/comm`, "utf8").trim());
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
