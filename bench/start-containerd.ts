import { writeFile } from "node:fs/promises";
import path from "node:path";
import { type Containerd, openContainerd } from "../containerd/client.ts";
import { containerdConfig, containerdDaemon } from "../stack/engines.ts";
import { startProcess } from "./start-process.ts";

export type BenchContainerd = Containerd & { readonly pid: number };

export type ContainerdToStart = {
  readonly binDir: string;
  /** of its own: takes its socket and all that it stores */
  readonly dir: string;
  /** an owned folder: takes its log and its pid; absent: `dir` */
  readonly ownedDir?: string;
  readonly name?: string;
  /** what runs it, in a network of its own say; absent: nothing between */
  readonly command?: (argv: readonly string[]) => [string, ...string[]];
};

/** containerd as we run it; it ends with the client. */
export async function startContainerd(options: ContainerdToStart): Promise<BenchContainerd> {
  const { binDir, dir, ownedDir = dir, name = "containerd", command = (argv) => argv as [string, ...string[]] } = options;
  await using stack = new AsyncDisposableStack();
  const [socket, configFile] = [path.join(dir, "c.sock"), path.join(dir, "containerd.toml")];
  const daemon = { binDir, root: path.join(dir, "root"), state: path.join(dir, "state"), socket, configFile };
  await writeFile(configFile, containerdConfig(daemon));
  const containerd = stack.use(openContainerd(socket));
  const { argv, env } = containerdDaemon(daemon);
  const isReady = (): Promise<boolean> =>
    containerd.version.version({}, { signal: AbortSignal.timeout(2_000) }).then(
      () => true,
      () => false,
    );
  const started = stack.use(await startProcess({ name, argv: command(argv), env, dir: ownedDir, isReady }));
  const opened = stack.move();
  return { ...containerd, pid: started.pid, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
