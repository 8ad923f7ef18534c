import { orgNamespace } from "../../config/paths.ts";
import { type Containerd, ensureNamespace } from "../../containerd/client.ts";
import { createMirrorAdmin } from "../../mirror/admin-client.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import type { InstalledTools } from "../../tools/install.ts";
import { benchSettings } from "../bench-settings.ts";
import { startContainerd } from "../start-containerd.ts";
import { startService } from "../start-service.ts";
import { emptyNamespace } from "./deploys.ts";

export const org = "bench";

/** containerd as we run it, and the mirror over it. */
export type Host = AsyncDisposable & {
  readonly containerd: Containerd;
  /** `host:port` of the mirror */
  readonly mirror: string;
  /** The org begins again with nothing. */
  emptyOrg(): Promise<void>;
};

export async function openHost(tools: InstalledTools, dir: string): Promise<Host> {
  await using stack = new AsyncDisposableStack();
  const containerd = stack.use(await startContainerd({ binDir: tools.binDir, dir }));
  const settings = benchSettings({ dir, tools, containerdSocket: containerd.socket });
  const port = await anyFreePort();
  const address = loopbackAddress();
  const mirror = { ...settings.mirror, port, publicFallback: false };
  stack.use(await startService("mirror", { ...settings, mirror }, dir));
  const serve = async (): Promise<void> => {
    await ensureNamespace(containerd, orgNamespace(org), AbortSignal.timeout(10_000));
    await createMirrorAdmin(settings.mirror.adminSocket).putOrg(org, [address], AbortSignal.timeout(10_000));
  };
  await serve();
  const opened = stack.move();
  return {
    containerd,
    mirror: `${address}:${port}`,
    async emptyOrg() {
      await emptyNamespace(containerd, orgNamespace(org));
      await serve();
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** The mirror listens on the standard ports as well, which others may have on 127.0.0.1. */
const loopbackAddress = (): string => `127.88.${(process.pid >> 8) & 255}.${process.pid & 255 || 1}`;
