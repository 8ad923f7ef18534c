import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { orgNamespace } from "../../config/paths.ts";
import { readyFile } from "../../config/ready.ts";
import { type Containerd, ensureNamespace } from "../../containerd/client.ts";
import { createMirrorAdmin } from "../../mirror/admin-client.ts";
import { entryPoint } from "../../stack/entry-point.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import type { InstalledTools } from "../../tools/install.ts";
import { benchSettings } from "../bench-settings.ts";
import { startContainerd } from "../start-containerd.ts";
import { startProcess } from "../start-process.ts";
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
  const settingsFile = path.join(dir, "settings.json");
  const mirror = { ...settings.mirror, port, publicFallback: false };
  await writeFile(settingsFile, JSON.stringify({ ...settings, mirror }), { mode: 0o600 });
  stack.use(
    await startProcess({
      name: "mirror",
      argv: entryPoint("mirror/main") as [string, ...string[]],
      env: { SLIPWAY_SETTINGS: settingsFile },
      dir,
      isReady: async () => existsSync(readyFile(settings.runDir, "mirror")),
    }),
  );
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
