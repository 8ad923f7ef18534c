import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { emptySnapshot } from "../../../containerd/empty-snapshot.ts";
import type { Mount } from "../../../proto/gen/types/mount_pb.ts";

const bindOf = (source: string) => ({ type: "bind", source, target: "", options: ["rbind", "rw"] }) as unknown as Mount;

/** As a layer that is still being applied does: a folder becomes a link to somewhere else, and a folder again. */
const swapping = `
  const { workerData } = require("node:worker_threads");
  const { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } = require("node:fs");
  const { folder, outside, stop } = workerData;
  const flag = new Int32Array(stop);
  Atomics.store(flag, 1, 1);
  const attempt = (task) => { try { task(); } catch {} };
  while (Atomics.load(flag, 0) === 0) {
    attempt(() => mkdirSync(folder + "/a"));
    attempt(() => writeFileSync(folder + "/a/precious", ""));
    attempt(() => renameSync(folder + "/a", folder + "/b"));
    attempt(() => symlinkSync(outside, folder + "/a"));
    attempt(() => unlinkSync(folder + "/a"));
    attempt(() => renameSync(folder + "/b", folder + "/a"));
  }
`;

describe("emptying a snapshot", () => {
  let dir: string;
  let folder: string;
  let outside: string;

  beforeEach(async () => {
    dir = await mkdtemp(path.join(tmpdir(), "slipway-empty-snapshot-"));
    [folder, outside] = [path.join(dir, "fs"), path.join(dir, "host")];
    await mkdir(folder);
    await mkdir(outside);
    await writeFile(path.join(outside, "precious"), "of the host");
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it("deletes all that was written, and links instead of what they lead to", async () => {
    await mkdir(path.join(folder, "usr/lib"), { recursive: true });
    await writeFile(path.join(folder, "usr/lib/-rf"), "");
    await symlink(outside, path.join(folder, "usr/link"));
    await symlink(outside, path.join(folder, "link"));
    await emptySnapshot([bindOf(folder)]);
    expect(await readdir(folder)).toEqual([]);
    expect(existsSync(path.join(outside, "precious"))).toBe(true);
    await emptySnapshot([bindOf(path.join(dir, "gone"))]);
  });

  it("deletes nothing of the host while a layer that is still being applied turns folders into links", async () => {
    const stop = new SharedArrayBuffer(8);
    const worker = new Worker(swapping, { eval: true, workerData: { folder, outside, stop } });
    const begun = () => Atomics.load(new Int32Array(stop), 1);
    try {
      await expect.poll(begun).toBe(1);
      for (let round = 0; round < 200 && existsSync(path.join(outside, "precious")); round += 1) await emptySnapshot([bindOf(folder)]);
      expect(existsSync(path.join(outside, "precious"))).toBe(true);
    } finally {
      Atomics.store(new Int32Array(stop), 0, 1);
      await worker.terminate();
    }
  }, 30_000);
});
