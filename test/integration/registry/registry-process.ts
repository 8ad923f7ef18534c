import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inject } from "vitest";
import { readyFile } from "../../../config/ready.ts";
import type { Settings } from "../../../config/settings.ts";
import { defaultSettings, preferredPorts } from "../../../stack/default-settings.ts";
import { entryPoint } from "../../../stack/entry-point.ts";
import { anyFreePort } from "../../../stack/free-port.ts";

export type RegistryProcess = AsyncDisposable & {
  readonly url: string;
  start(): Promise<void>;
  /** Waits until it is gone. */
  stop(signal: "SIGTERM" | "SIGKILL"): Promise<void>;
};

/** The process `registry` as `slipway up` would start it, over a bucket of the test's. */
export async function createRegistryProcess(bucket: string, endpoint = inject("s3").endpoint): Promise<RegistryProcess> {
  const dir = await mkdtemp(path.join(tmpdir(), "registry-"));
  const settings: Settings = defaultSettings({
    dataDir: path.join(dir, "data"),
    runDir: path.join(dir, "run"),
    hostId: "test",
    tools: { binDir: inject("toolsBinDir"), shareDir: dir },
    ports: { ...preferredPorts, registry: await anyFreePort(), metrics: await anyFreePort() },
    s3Keys: inject("s3"),
    ipv4Pool: "10.99.0.0/16",
  });
  const { accessKeyId, secretAccessKey, region } = inject("s3");
  const file = path.join(dir, "settings.json");
  const s3 = { endpoint, bucket, accessKeyId, secretAccessKey, region, forcePathStyle: true };
  await writeFile(file, JSON.stringify({ ...settings, s3 }));
  const logFile = path.join(dir, "registry.log");
  let child: ChildProcess | undefined;

  const stop = async (signal: "SIGTERM" | "SIGKILL"): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  };
  return {
    url: settings.registry.url,
    stop,
    start: async () => {
      const [command, ...args] = entryPoint("registry/main");
      await rm(readyFile(settings.runDir, "registry"), { force: true });
      child = spawn("/bin/sh", ["-c", 'exec "$@" >>"$LOG" 2>&1', "sh", command, ...args], {
        env: { ...process.env, SLIPWAY_SETTINGS: file, LOG: logFile },
        stdio: "ignore",
      });
      while (!existsSync(readyFile(settings.runDir, "registry"))) {
        if (child.exitCode !== null) throw new Error(`the registry ended:\n${await readFile(logFile, "utf8")}`);
        await sleep(20);
      }
    },
    [Symbol.asyncDispose]: async () => {
      await stop("SIGTERM");
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** The way to S3, on which requests can be held up before they arrive. */
export async function openS3Detour(): Promise<AsyncDisposable & { readonly endpoint: string; holdNext(part: string): Promise<void> }> {
  const { hostname, port } = new URL(inject("s3").endpoint);
  let held: { readonly part: string; readonly arrived: () => void } | undefined;
  const server = createServer((request, reply) => {
    const { url = "", method, headers } = request;
    if (held !== undefined && url.includes(held.part) && method === "PUT") {
      held.arrived();
      held = undefined;
      return;
    }
    const onward = httpRequest({ hostname, port, path: url, method, headers }, (answer) => {
      reply.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(reply);
    });
    onward.on("error", () => reply.destroy());
    request.on("error", () => onward.destroy());
    request.pipe(onward);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    holdNext: (part) => new Promise((arrived) => (held = { part, arrived })),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
