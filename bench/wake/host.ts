import { type Builders, createBuilders } from "../../builder/builders.ts";
import { ensureNamespace } from "../../containerd/client.ts";
import { orgNamespace } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import { createMachines } from "../../machines/machines.ts";
import { teardownHost } from "../../machines/teardown.ts";
import type { Machines } from "../../machines/types.ts";
import { makeOwnedDir, removeOwnedDir } from "../../test/support/owned-dir.ts";
import { installTools } from "../../tools/install.ts";
import { benchSettings } from "../bench-settings.ts";
import { type BenchContainerd, startContainerd } from "../start-containerd.ts";

export type WakeHost = AsyncDisposable & {
  readonly dir: string;
  readonly settings: Settings;
  readonly containerd: BenchContainerd;
  readonly machines: Machines;
  readonly builders: Builders;
};

/** A containerd of the bench's own with the builders of a host over it, which sleep only when told to. */
export async function openWakeHost(orgs: readonly string[], signal: AbortSignal): Promise<WakeHost> {
  const tools = await installTools({ groups: [], progress: (line) => console.error(line), signal });
  await using stack = new AsyncDisposableStack();
  const dir = await makeOwnedDir();
  stack.defer(() => removeOwnedDir(dir));
  const containerd = stack.use(await startContainerd({ binDir: tools.binDir, dir }));
  const settings = benchSettings({ dir, tools, containerdSocket: containerd.socket });
  const own: Settings = { ...settings, builder: { ...settings.builder, whenIdle: "off" } };
  for (const org of orgs) await ensureNamespace(containerd, orgNamespace(org), signal);
  const machines = createMachines({ containerd, settings: own });
  stack.defer(() => teardownHost(own, AbortSignal.timeout(60_000)));
  const builders = stack.use(createBuilders({ containerd, machines, settings: own }));
  const opened = stack.move();
  return { dir, settings: own, containerd, machines, builders, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
