import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { anyFreePort } from "../../stack/free-port.ts";
import { startToxiproxy } from "../../test/support/toxiproxy-process.ts";
import type { Cell } from "./cells.ts";
import { openSharedLink } from "./shared-link.ts";
import { startProcess } from "../start-process.ts";

export type Registry = AsyncDisposable & {
  /** `host:port`, where it is reached */
  readonly host: string;
};

type RegistryOptions = { readonly binDir: string; readonly dir: string; readonly name: string };

/** CNCF distribution over a folder of its own, which goes with it. */
export async function startRegistry({ binDir, dir, name }: RegistryOptions): Promise<Registry & { readonly port: number }> {
  const port = await anyFreePort();
  const storage = path.join(dir, name);
  await mkdir(storage);
  const configFile = path.join(dir, `${name}.json`);
  await writeFile(
    configFile,
    JSON.stringify({
      version: 0.1,
      log: { level: "error", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: storage }, cache: { blobdescriptor: "inmemory" } },
      http: { addr: `127.0.0.1:${port}`, secret: "bench" },
    }),
  );
  const started = await startProcess({
    name,
    argv: [path.join(binDir, "registry"), "serve", configFile],
    dir,
    isReady: () => answers(`http://127.0.0.1:${port}/v2/`),
  });
  return {
    host: `127.0.0.1:${port}`,
    port,
    async [Symbol.asyncDispose]() {
      await started[Symbol.asyncDispose]();
      await rm(storage, { recursive: true, force: true });
    },
  };
}

/** The same, empty, at the far end of the cell's link: the bandwidth is shared by its connections, and half a round trip lies each way. */
export async function openFarRegistry(options: RegistryOptions, { roundTripMs, linkMbit }: Cell): Promise<Registry> {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startRegistry(options));
  const link = stack.use(await openSharedLink({ host: "127.0.0.1", port: registry.port }, linkMbit));
  const proxy = stack.use(await startToxiproxy(link.address, options.binDir));
  const latency = Math.floor(roundTripMs / 2);
  await proxy.add("latency", { latency: roundTripMs - latency }, "upstream");
  if (latency > 0) await proxy.add("latency", { latency }, "downstream");
  const opened = stack.move();
  return { host: proxy.address, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

export async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(2_000) })).status < 500;
  } catch {
    return false;
  }
}
