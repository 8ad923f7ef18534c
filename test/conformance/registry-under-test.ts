import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { startProcess, untilReady } from "../../stack/child-process.ts";
import { s3Server } from "../../stack/engines.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import { makeOwnedDir, removeOwnedDir } from "../support/owned-dir.ts";
import { createRegistryProcess } from "../support/registry-process.ts";

export type RegistryUnderTest = AsyncDisposable & {
  readonly url: string;
  readonly credentials: { readonly username: string; readonly password: string };
};

/** A registry that asks for tokens, over a versitygw of its own; both end with it. */
export async function openRegistryUnderTest(toolsBinDir: string): Promise<RegistryUnderTest> {
  await using stack = new AsyncDisposableStack();
  const dir = await makeOwnedDir();
  stack.defer(() => removeOwnedDir(dir));
  const s3 = await startS3(dir, toolsBinDir);
  const systemToken = randomBytes(32).toString("base64url");
  const amend = (registry: object) => ({ ...registry, auth: "tokens", systemToken }) as never;
  const registry = stack.use(await createRegistryProcess({ bucket: "conformance", s3, toolsBinDir, amend }));
  await registry.start();
  const owned = stack.move();
  return {
    url: registry.url,
    credentials: { username: "slipway", password: systemToken },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function startS3(dir: string, binDir: string) {
  const port = await anyFreePort();
  const keys = { region: "us-east-1", accessKeyId: "conformance", secretAccessKey: randomBytes(16).toString("hex") };
  await mkdir(path.join(dir, "s3"));
  const spec = s3Server({ binDir, dir: path.join(dir, "s3"), port, ...keys });
  const files = { pidFile: path.join(dir, "pids", spec.name), logFile: path.join(dir, "logs", `${spec.name}.log`) };
  await untilReady(spec, startProcess(spec, files), files, AbortSignal.timeout(60_000));
  return { endpoint: `http://127.0.0.1:${port}`, ...keys };
}
