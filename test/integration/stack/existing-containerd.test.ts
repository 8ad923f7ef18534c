import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { orgNamespace } from "../../../config/paths.ts";
import { identifyProcess, isRunning } from "../../../config/process-identity.ts";
import { type Containerd, openContainerd } from "../../../containerd/client.ts";
import { listBlobs, writeBlob } from "../../../containerd/content.ts";
import { listImages, putImage } from "../../../containerd/images.ts";
import { listLeases } from "../../../containerd/leases.ts";
import { digestOf } from "../../../oci/digest.ts";
import { down } from "../../../stack/down.ts";
import { leftovers } from "../../../stack/leftovers.ts";
import { unmountBelow } from "../../../stack/mounts.ts";
import { killShims, removeShimSockets, shimsOf } from "../../../stack/shims.ts";
import { tinyApp } from "../../support/apps.ts";
import { makeOwnedDir, removeOwnedDir } from "../../support/owned-dir.ts";
import { type OwnContainerd, startContainerd } from "../../support/own-containerd.ts";
import { slipway } from "../../support/slipway.ts";
import { type TestStack, startTestStack } from "../../support/stack.ts";

const run = promisify(execFile);
const signal = AbortSignal.timeout(600_000);
/** a name of this run's: runc keeps its state by namespace, for all containerds of a host together */
const foreign = `somebody-else-${process.pid}`;

describe("a containerd that cannot be used", () => {
  let dir = "";
  beforeEach(async () => {
    dir = await makeOwnedDir();
  });
  afterEach(() => removeOwnedDir(dir));

  const dataDir = () => path.join(dir, "data");

  it("is refused when it shares content, with what to put where, and nothing is left running", async () => {
    await using daemon = await startContainerd({ sharing: "shared" });
    const before = await namespacesOf(daemon);
    const { code, stderr, stdout } = await slipway(dataDir(), ["up", "--containerd", daemon.socket]);
    expect(code, stderr).toBe(1);
    expect(stdout).toBe("");
    for (const line of [
      `Cannot use containerd at "${daemon.socket}": found content_sharing_policy "shared", expected "isolated"`,
      `file: ${daemon.configFile}`,
      '[plugins."io.containerd.metadata.v1.bolt"]',
      'content_sharing_policy = "isolated"',
    ])
      expect(stderr).toContain(line);
    expect(existsSync(path.join(dataDir(), "settings.json"))).toBe(false);
    expect(existsSync(path.join(dataDir(), "logs"))).toBe(false);
    expect(await namespacesOf(daemon)).toEqual(before);
  });

  it("is refused when it does not answer, whether the flag or the environment names it", async () => {
    const socket = path.join(dir, "nobody.sock");
    const byFlag = await slipway(dataDir(), ["up", "--containerd", socket]);
    const byEnvironment = await slipway(dataDir(), ["up"], { env: { SLIPWAY_CONTAINERD: socket } });
    for (const { code, stderr } of [byFlag, byEnvironment]) {
      expect(code).toBe(1);
      expect(stderr).toContain(`Cannot use containerd at "${socket}": it does not answer`);
    }
    expect(existsSync(path.join(dataDir(), "settings.json"))).toBe(false);
  });
});

describe("an existing containerd with isolated content", () => {
  let daemon: OwnContainerd;
  let containerd: Containerd;
  let stack: TestStack;
  let rootfs = "";
  let before: unknown;

  beforeAll(async () => {
    daemon = await startContainerd();
    containerd = openContainerd(daemon.socket);
    rootfs = await makeOwnedDir();
    await runForeignContainer();
    before = await foreignState();
    stack = await startTestStack(undefined, { containerdSocket: daemon.socket });
  });
  afterAll(async () => {
    await stack?.stop();
    await ctr("tasks", "kill", "--signal", "SIGKILL", "theirs").catch(() => {});
    await ctr("tasks", "delete", "--force", "theirs").catch(() => {});
    await containerd?.[Symbol.asyncDispose]();
    await daemon?.[Symbol.asyncDispose]();
    await removeOwnedDir(rootfs);
  });

  const ctr = (...args: string[]) =>
    run(path.join(inject("toolsBinDir"), "ctr"), ["--address", daemon.socket, "--namespace", foreign, ...args]);

  async function runForeignContainer(): Promise<void> {
    await mkdir(path.join(rootfs, "rootfs", "bin"), { recursive: true });
    await copyFile("/bin/busybox", path.join(rootfs, "rootfs", "bin", "busybox"));
    await ctr("run", "--detach", "--rootfs", path.join(rootfs, "rootfs"), "theirs", "/bin/busybox", "sleep", "1000000");
    const ns = containerd.namespace(foreign);
    const bytes = Buffer.from("{}");
    const target = { mediaType: "application/json", digest: digestOf(bytes), size: bytes.length };
    await putImage(ns, { name: "their/image:1", target, labels: { theirs: "yes" } }, signal);
    await writeBlob(ns, bytes, target, {}, signal);
  }

  /** All that may not change, the process of their container included. */
  async function foreignState() {
    const ns = containerd.namespace(foreign);
    const blobs: string[] = [];
    for await (const { digest } of listBlobs(ns, [], signal)) blobs.push(digest);
    const snapshots: unknown[] = [];
    for await (const { info } of ns.snapshots.list({ snapshotter: "overlayfs" }, { signal })) snapshots.push(info);
    return {
      containers: (await ns.containers.list({}, { signal })).containers,
      tasks: (await ns.tasks.list({}, { signal })).tasks.map(({ id, pid, status }) => ({ id, pid, status, process: identifyProcess(pid) })),
      images: await listImages(ns, [], signal),
      leases: await listLeases(ns, signal),
      blobs,
      snapshots,
      daemonPid: (await containerd.introspection.server({}, { signal })).pid,
    };
  }

  it("carries a deploy, in namespaces of our own only", async () => {
    await using source = await tinyApp("guest", "in another's house");
    for (const args of [
      ["image", "bases", "busybox"],
      ["deploy", source.dir],
    ]) {
      const { code, stderr } = await slipway(stack.dataDir, args);
      expect(code, stderr).toBe(0);
    }
    const { stdout } = await slipway(stack.dataDir, ["status", "guest", "-o", "json"]);
    const { apps } = JSON.parse(stdout) as { apps: { url: string }[] };
    expect(await (await fetch(apps[0]!.url)).text()).toBe("in another's house");
    expect((await stack.status()).processes.map(({ name }) => name)).not.toContain("containerd");
    expect(await namespacesOf(daemon)).toEqual(["slipway", orgNamespace("default"), foreign].toSorted());
    expect(await foreignState()).toEqual(before);
  });

  it("is not given to a second instance", async () => {
    const dir = await makeOwnedDir();
    try {
      const { code, stderr } = await slipway(path.join(dir, "data"), ["up", "--containerd", daemon.socket]);
      expect(code).toBe(1);
      expect(stderr).toContain(`Slipway's instance ${stack.settings.instance} has it`);
    } finally {
      await removeOwnedDir(dir);
    }
  });

  it("is left as it was by down, but for what the next up needs", async () => {
    await down({ dataDir: stack.dataDir }, () => undefined, signal);
    expect(await leftovers(stack.settings, signal)).toEqual([]);
    const ours = await containerd.namespace(orgNamespace("default")).tasks.list({}, { signal });
    expect(ours.tasks).toEqual([]);
    expect(shimsOf(daemon.socket)).toHaveLength(1);
    expect(await foreignState()).toEqual(before);
    await stack.up();
  });

  it("has nothing of ours after down with purge, and everything of theirs", async () => {
    await stack.stop();
    expect(await namespacesOf(daemon)).toEqual([foreign]);
    expect(await foreignState()).toEqual(before);
    const { tasks } = await containerd.namespace(foreign).tasks.list({}, { signal });
    expect(isRunning(identifyProcess(tasks[0]!.pid)!)).toBe(true);
  });
});

describe("an existing containerd that has died", () => {
  it("does not keep down from stopping everything else; down says so", async () => {
    await using cleanup = new AsyncDisposableStack();
    const daemon = cleanup.use(await startContainerd());
    const stateDir = path.dirname(daemon.socket);
    cleanup.defer(async () => {
      await killShims(daemon.socket);
      await removeShimSockets(path.join(stateDir, "state"));
      await unmountBelow(stateDir);
    });
    const stack = cleanup.use(await startTestStack(undefined, { containerdSocket: daemon.socket }));
    await using source = await tinyApp("guest", "for a while");
    for (const args of [
      ["image", "bases", "busybox"],
      ["deploy", source.dir],
    ]) {
      const { code, stderr } = await slipway(stack.dataDir, args);
      expect(code, stderr).toBe(0);
    }
    await killDaemon(daemon);
    const { processes } = await stack.status();
    const { code, stderr } = await slipway(stack.dataDir, ["down"]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(`Cannot take away all of instance "${stack.settings.instance}"`);
    expect(processes.filter(({ pid }) => pid !== undefined && identifyProcess(pid) !== undefined)).toEqual([]);
    expect(await leftovers(stack.settings, signal)).toEqual([]);
    await expect(stack.stop()).rejects.toThrow();
  });
});

async function killDaemon({ socket }: OwnContainerd): Promise<void> {
  await using containerd = openContainerd(socket);
  const { pid } = await containerd.introspection.server({}, { signal });
  process.kill(Number(pid), "SIGKILL");
}

async function namespacesOf({ socket }: OwnContainerd): Promise<string[]> {
  await using containerd = openContainerd(socket);
  const { namespaces } = await containerd.namespaces.list({}, { signal });
  return namespaces.map(({ name }) => name).toSorted();
}
