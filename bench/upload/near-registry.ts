import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { s3Server } from "../../stack/engines.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import { makeOwnedDir, removeOwnedDir } from "../../test/support/owned-dir.ts";
import { startToxiproxy } from "../../test/support/toxiproxy-process.ts";
import { installTools } from "../../tools/install.ts";
import { benchSettings } from "../bench-settings.ts";
import { answers } from "../headline/far-registry.ts";
import { openSharedLink } from "../headline/shared-link.ts";
import { startProcess } from "../start-process.ts";
import { startService } from "../start-service.ts";

export type UploadBench = AsyncDisposable & {
  readonly dir: string;
  /** our registry, over versitygw */
  readonly nearUrl: string;
  /** the same behind a link */
  readonly farUrl: string;
};

export type Link = { readonly roundTripMs: number; readonly linkMbit: number };

export async function openUploadBench({ roundTripMs, linkMbit }: Link): Promise<UploadBench> {
  const tools = await installTools({ groups: ["test"], progress: (line) => console.error(line), signal: AbortSignal.timeout(20 * 60_000) });
  await using stack = new AsyncDisposableStack();
  const dir = await makeOwnedDir();
  stack.defer(() => removeOwnedDir(dir));
  const s3Keys = { accessKeyId: "bench", secretAccessKey: randomBytes(16).toString("hex") };
  const [s3Port, port] = [await anyFreePort(), await anyFreePort()];
  await mkdir(path.join(dir, "s3"));
  const s3 = s3Server({ binDir: tools.binDir, dir: path.join(dir, "s3"), port: s3Port, region: "us-east-1", ...s3Keys });
  const nearUrl = `http://127.0.0.1:${port}`;
  stack.use(await startProcess({ name: "s3", argv: s3.argv, env: s3.env, dir, isReady: () => answers(`http://127.0.0.1:${s3Port}/`) }));
  const settings = benchSettings({ dir, tools, s3Keys });
  const registry = { ...settings.registry, url: nearUrl, listen: { host: "127.0.0.1", port }, metrics: undefined };
  const all = { ...settings, s3: { ...settings.s3, endpoint: `http://127.0.0.1:${s3Port}` }, registry };
  stack.use(await startService("registry", all, dir));
  const link = stack.use(await openSharedLink({ host: "127.0.0.1", port }, linkMbit));
  const proxy = stack.use(await startToxiproxy(link.address, tools.binDir));
  const latency = Math.floor(roundTripMs / 2);
  await proxy.add("latency", { latency: roundTripMs - latency }, "upstream");
  await proxy.add("latency", { latency }, "downstream");
  const opened = stack.move();
  return { dir, nearUrl, farUrl: `http://${proxy.address}`, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
