import { mkdir } from "node:fs/promises";
import path from "node:path";
import { HeadObjectCommand } from "@aws-sdk/client-s3";
import { describe, expect, inject, it } from "vitest";
import { startProcess, stopProcess, untilReady } from "../../../stack/child-process.ts";
import { s3Server } from "../../../stack/engines.ts";
import { anyFreePort } from "../../../stack/free-port.ts";
import { makeOwnedDir, removeOwnedDir } from "../../support/owned-dir.ts";
import { createRegistryProcess } from "../../support/registry-process.ts";
import { openToxiproxy } from "../../support/toxiproxy.ts";
import { openScratchBucket } from "./scratch-bucket.ts";

const toolsBinDir = inject("toolsBinDir");
const patience = { timeout: 30_000, interval: 200 };

/** The status within a time that is longer than the probe's own, and far shorter than that of anything below it. */
const statusOf = async (url: string, route = "/readyz"): Promise<number> =>
  (await fetch(`${url}${route}`, { signal: AbortSignal.timeout(15_000) })).status;

/** An S3 server of the test's own, which it may kill. */
async function openOwnS3() {
  const dir = await makeOwnedDir();
  const keys = { region: "us-east-1", accessKeyId: "own-key", secretAccessKey: "own-secret-key" };
  const port = await anyFreePort();
  const spec = s3Server({ binDir: toolsBinDir, dir: path.join(dir, "s3"), port, ...keys });
  const files = { pidFile: path.join(dir, "pids", "s3"), logFile: path.join(dir, "logs", "s3.log") };
  await mkdir(path.join(dir, "s3"));
  let running: Awaited<ReturnType<typeof startProcess>> | undefined;
  const server = {
    s3: { endpoint: `http://127.0.0.1:${port}`, ...keys },
    start: async () => {
      running = startProcess(spec, files);
      await untilReady(spec, running, files, AbortSignal.timeout(30_000));
    },
    kill: async () => {
      if (running !== undefined) await stopProcess(running, 0);
    },
    [Symbol.asyncDispose]: async () => {
      await server.kill();
      await removeOwnedDir(dir);
    },
  };
  await server.start();
  return server;
}

describe("/readyz", () => {
  it("says 503 while S3 is killed and 200 again when it is back; /healthz says 200 all the while", async () => {
    await using s3 = await openOwnS3();
    await using registry = await createRegistryProcess({ bucket: "ready", s3: s3.s3, toolsBinDir });
    await registry.start();
    expect(await statusOf(registry.url)).toBe(200);
    await s3.kill();
    await expect.poll(() => statusOf(registry.url), patience).toBe(503);
    expect(await statusOf(registry.url, "/healthz")).toBe(200);
    await s3.start();
    await expect.poll(() => statusOf(registry.url), patience).toBe(200);
  });

  it("says 503 in its own time when S3 takes too long, and 200 when it is quick again", async () => {
    await using scratch = await openScratchBucket();
    await using slow = await openToxiproxy(new URL(inject("s3").endpoint).host);
    const s3 = { ...inject("s3"), endpoint: `http://${slow.address}` };
    await using registry = await createRegistryProcess({ bucket: scratch.bucket, s3, toolsBinDir });
    await registry.start();
    expect(await statusOf(registry.url)).toBe(200);
    const recover = await slow.add("latency", { latency: 60_000 });
    await expect.poll(() => statusOf(registry.url), patience).toBe(503);
    expect(await statusOf(registry.url, "/healthz")).toBe(200);
    await recover();
    await expect.poll(() => statusOf(registry.url), patience).toBe(200);
  });

  it("proves with each look that a conditional write replaces the one before, in one object", async () => {
    await using scratch = await openScratchBucket();
    await using registry = await createRegistryProcess({ bucket: scratch.bucket, s3: inject("s3"), toolsBinDir });
    await registry.start();
    expect(await statusOf(registry.url)).toBe(200);
    const [probe] = await scratch.keys("probes/");
    expect(probe).toBeDefined();
    const before = await scratch.s3.send(new HeadObjectCommand({ Bucket: scratch.bucket, Key: probe! }));
    const etagNow = async () => {
      await statusOf(registry.url);
      return (await scratch.s3.send(new HeadObjectCommand({ Bucket: scratch.bucket, Key: probe! }))).ETag;
    };
    await expect.poll(etagNow, patience).not.toBe(before.ETag);
    expect(await scratch.keys("probes/")).toEqual([probe]);
  });

  it("says 503 to a load balancer before the registry closes", async () => {
    await using scratch = await openScratchBucket();
    await using registry = await createRegistryProcess({ bucket: scratch.bucket, s3: inject("s3"), toolsBinDir });
    await registry.start();
    expect(await statusOf(registry.url)).toBe(200);
    const stopped = registry.stop("SIGTERM");
    const said = new Set<string>();
    const ask = async (): Promise<boolean> => {
      try {
        said.add(await (await fetch(`${registry.url}/readyz`)).text());
        return true;
      } catch {
        return false;
      }
    };
    await expect.poll(ask, { ...patience, interval: 5 }).toBe(false);
    await stopped;
    expect([...said].join()).toContain("shutting down");
  });
});
