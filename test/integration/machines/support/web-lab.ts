import { inject } from "vitest";
import { machineLogTail } from "../../../../machines/logs/tail.ts";
import type { MachineState } from "../../../../machines/types.ts";
import type { Digest } from "../../../../oci/digest.ts";
import { type MachineLab, openMachineLab } from "./lab.ts";
import { until } from "./observe.ts";

type Image = { readonly name: string; readonly digest: Digest };

/** A lab whose two orgs have an image that serves its /etc as a user of its own. */
export type WebLab = MachineLab & {
  readonly org: string;
  readonly rival: string;
  readonly web: Image;
  readonly rivalWeb: Image;
  start(id: string, args?: readonly string[]): Promise<MachineState>;
  remove(id: string): Promise<void>;
  /** Runs a shell line in a machine of its own and answers what it wrote. */
  output(id: string, script: string): Promise<string>;
};

export const serve = ["sh", "-c", "exec httpd -f -p 80 -h /etc"];
export const kill = { signal: "SIGKILL", timeoutMs: 2000 };

const name = "registry/test/web:1";
const image = {
  config: { Cmd: serve, User: "app", Labels: { "containerd.io/restart.loguri": "binary:///bin/sh", "slipway.app": "stolen" } },
  files: { "etc/passwd": "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n", "etc/group": "app:x:1000:\n" },
};

/** On the daemons of the run. */
export async function openWebLab(signal: AbortSignal): Promise<WebLab> {
  const [containerdSocket, toolsBinDir, toolsShareDir] = [inject("containerdSocket"), inject("toolsBinDir"), inject("toolsShareDir")];
  const lab = await openMachineLab({ containerdSocket, toolsBinDir, toolsShareDir });
  const [org, rival] = lab.orgs;
  const [web, rivalWeb] = await importBoth(lab);

  const start = (id: string, args: readonly string[] = serve) => lab.machines.start(lab.plan({ id, image: web, args }), signal);
  const remove = (id: string) => lab.machines.remove(org, id, kill, signal);
  async function output(id: string, script: string): Promise<string> {
    const end = "end of output";
    // on one stream: two come each at its own pace, one even in the middle of the other's lines
    await start(id, ["sh", "-c", `(${script}) 2>&1; echo ${end}`]);
    await until(async () => (await lab.machines.inspect(org, id, signal))?.state === "stopped");
    const written = () => machineLogTail(lab.settings, org, id, 100);
    const lines = await until(async () => {
      const found = await written();
      return found.at(-1) === end ? found : undefined;
    }).catch(async (cause: unknown) => {
      throw new Error(`the end of ${JSON.stringify(await written())} is missing`, { cause });
    });
    await remove(id);
    return lines.slice(0, -1).join("\n");
  }
  return { ...lab, org, rival, web, rivalWeb, start, remove, output };
}

async function importBoth(lab: MachineLab): Promise<[Image, Image]> {
  try {
    const [org, rival] = lab.orgs;
    return [
      { name, digest: await lab.importImage(org, name, image) },
      { name, digest: await lab.importImage(rival, name, image) },
    ];
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    throw error;
  }
}
