import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { type Containerd, isNotFound } from "../../../containerd/client.ts";
import { writeBlob } from "../../../containerd/content.ts";
import { readImage } from "../../../containerd/image.ts";
import { getImage, putImage } from "../../../containerd/images.ts";
import { gcLabels } from "../../../containerd/labels.ts";
import { createLease, deleteLease } from "../../../containerd/leases.ts";
import { statSnapshot } from "../../../containerd/snapshots.ts";
import { planLayers, unpackImage } from "../../../containerd/unpack.ts";
import { LayerMismatchError, commitLayer } from "../../../containerd/unpack-layer.ts";
import type { Digest } from "../../../oci/digest.ts";
import { isOldContainerd } from "../../support/containerd-release.ts";
import { type ScratchNamespace, openScratchNamespace } from "../../support/scratch-namespace.ts";
import { type LayerFiles, type TestImage, imageOf } from "../../support/test-image.ts";

const run = promisify(execFile);
const signal = AbortSignal.timeout(300_000);

/** containerd, whose `nth` call of a step makes the caller give up right after it was sent; nothing else is changed. */
function cancelAt(containerd: Containerd, step: "prepare" | "apply" | "commit", nth: number, caller: AbortController): Containerd {
  let calls = 0;
  const watched = <T extends object>(service: T): T =>
    new Proxy(service, {
      get(target, name) {
        const method = Reflect.get(target, name) as unknown;
        if (name !== step || typeof method !== "function") return method;
        return (...args: unknown[]) => {
          const answer = Reflect.apply(method, target, args) as unknown;
          calls += 1;
          if (calls === nth) setImmediate(() => caller.abort());
          return answer;
        };
      },
    });
  return {
    ...containerd,
    namespace(name, lease) {
      const ns = containerd.namespace(name, lease);
      return { ...ns, snapshots: watched(ns.snapshots), diff: watched(ns.diff) };
    },
  };
}

// native stands for what has no `rebase`
const snapshotters = isOldContainerd(inject("containerdRelease")) ? ["overlayfs"] : ["overlayfs", "native"];

describe.each(snapshotters)("unpacking with the %s snapshotter", (snapshotter) => {
  let scratch: ScratchNamespace;
  beforeAll(async () => {
    scratch = await openScratchNamespace(inject("containerdSocket"));
  });
  afterAll(() => scratch[Symbol.asyncDispose]());

  const store = (image: TestImage) => storeImage(scratch, image);

  const unpack = (image: TestImage, lease: string) =>
    unpackImage(scratch.containerd, scratch.name, image.manifest.descriptor.digest, { snapshotter, lease, signal });

  const extracts = async () => {
    const names: string[] = [];
    for await (const { info } of scratch.ns.snapshots.list({ snapshotter }, { signal })) names.push(...info.map((i) => i.name));
    return names.filter((name) => name.startsWith("extract-"));
  };

  it("hides what a later layer deletes: a file, a folder, and a folder that is replaced", async () => {
    const image = await imageOf([
      {
        "etc/": "",
        "etc/keep": "kept",
        "etc/gone": "deleted later",
        "docs/": "",
        "docs/a": "a",
        "docs/b": "b",
        "data/": "",
        "data/old": "old",
      },
      { "etc/": "", "etc/.wh.gone": "", ".wh.docs": "" },
      { "data/": "", "data/.wh..wh..opq": "", "data/new": "new", "docs/": "", "docs/c": "c" },
    ]);
    const lease = await store(image);
    const { chainId, layers } = await unpack(image, lease);
    expect(layers).toBe(3);
    await withRootfs(scratch, snapshotter, chainId!, async (dir) => {
      expect(await readdir(path.join(dir, "etc"))).toEqual(["keep"]);
      expect(await readdir(path.join(dir, "data"))).toEqual(["new"]);
      expect(await readdir(path.join(dir, "docs"))).toEqual(["c"]);
      expect(await readFile(path.join(dir, "etc/keep"), "utf8")).toBe("kept");
    });
    expect(await extracts()).toEqual([]);
  });

  it("keeps snapshots through the image record once the lease is gone, and lets them go with it", async () => {
    const image = await imageOf([{ a: randomUUID() }, { b: randomUUID() }]);
    const lease = await store(image);
    const { chainId } = await unpack(image, lease);
    const record = { name: `test/app:${randomUUID()}`, target: image.manifest.descriptor, labels: { own: "1" } };
    await putImage(scratch.ns, record, signal);
    await deleteLease(scratch.ns, lease, signal, true);
    expect((await statSnapshot(scratch.ns, snapshotter, chainId!, signal))?.committed).toBe(true);
    expect((await getImage(scratch.ns, record.name, signal))?.target.digest).toBe(image.manifest.descriptor.digest);

    const other = await imageOf([{ a: randomUUID() }]);
    const second = await store(other);
    await unpack(other, second);
    await putImage(scratch.ns, { ...record, target: other.manifest.descriptor }, signal);
    await deleteLease(scratch.ns, second, signal, true);
    expect(await statSnapshot(scratch.ns, snapshotter, chainId!, signal)).toBeUndefined();
    expect((await getImage(scratch.ns, record.name, signal))?.labels).toEqual({ own: "1" });
  });

  it("is quick to say yes a second time and takes the snapshots under the second lease too", async () => {
    const image = await imageOf([{ a: randomUUID() }, { b: "b" }]);
    const first = await store(image);
    const unpacked = await unpack(image, first);
    const second = await store(image);
    expect(await unpack(image, second)).toEqual(unpacked);
    await deleteLease(scratch.ns, first, signal, true);
    expect((await statSnapshot(scratch.ns, snapshotter, unpacked.chainId!, signal))?.committed).toBe(true);
  });

  it("begins again when a layer of another unpack is collected before the lease has it", async () => {
    const image = await imageOf([{ a: randomUUID() }]);
    const lease = await store(image);
    const ns = scratch.containerd.namespace(scratch.name, lease);
    const [plan] = planLayers(await readImage(ns, image.manifest.descriptor.digest, signal), snapshotter);
    // as after the collection: another was said to have committed it, and it does not stand
    const missing = commitLayer(ns, plan!, undefined, signal);
    await expect(missing).rejects.toSatisfy((error) => isNotFound(error) && /snapshot/.test((error as Error).message));
  });

  it("ends well for several unpacks of one image at once", async () => {
    const image = await imageOf(Array.from({ length: 5 }, (_, layer) => ({ [`file-${layer}`]: randomUUID() })));
    const leases = await Promise.all([store(image), store(image), store(image), store(image)]);
    const results = await Promise.all(leases.map((lease) => unpack(image, lease)));
    expect(new Set(results.map((result) => result.chainId)).size).toBe(1);
    expect(await extracts()).toEqual([]);
    for (const lease of leases.slice(1)) await deleteLease(scratch.ns, lease, signal, true);
    expect((await statSnapshot(scratch.ns, snapshotter, results[0]!.chainId!, signal))?.committed).toBe(true);
  });

  it("refuses a layer that unpacks to something else than the config says, and leaves no snapshot", async () => {
    const honest = await imageOf([{ a: randomUUID() }, { b: randomUUID() }]);
    const lying = await imageOf([{ a: randomUUID() }, { evil: "yes" }], { diffIds: honest.diffIds });
    const lease = await store(lying);
    await expect(unpack(lying, lease)).rejects.toThrow(LayerMismatchError);
    expect(await statSnapshot(scratch.ns, snapshotter, honest.diffIds[0]!, signal)).toBeUndefined();
    expect(await extracts()).toEqual([]);
  });

  it.each(["prepare", "apply", "commit"] as const)("leaves no active snapshot when it is cancelled at any %s", async (step) => {
    const layers = 3;
    for (let round = 0; round < 8; round += 1) {
      const image = await imageOf(Array.from({ length: layers }, (_, layer) => ({ [`file-${layer}`]: randomUUID().repeat(2_000) })));
      const lease = await store(image);
      const caller = new AbortController();
      // the call is on its way when the caller gives up: whether containerd goes through with it is open
      const cancelling = cancelAt(scratch.containerd, step, 1 + (round % layers), caller);
      const digest = image.manifest.descriptor.digest;
      const unpacking = unpackImage(cancelling, scratch.name, digest, { snapshotter, lease, signal: caller.signal });
      await unpacking.catch(() => undefined);
      // one that goes through late shows itself by the time of a later change
      await unpack(image, lease);
      expect(await extracts()).toEqual([]);
    }
  });

  it("has nothing to do for an image without layers", async () => {
    const image = await imageOf([]);
    expect(await unpack(image, await store(image))).toEqual({ chainId: undefined, layers: 0 });
  });
});

describe("unpacking layers alone", () => {
  let scratch: ScratchNamespace;
  beforeAll(async () => {
    scratch = await openScratchNamespace(inject("containerdSocket"));
  });
  afterAll(() => scratch[Symbol.asyncDispose]());

  it("makes the tree that applying them one over the other into one folder makes", async () => {
    const image = await imageOf(changingLayers());
    const trees: string[] = [];
    // native has no `rebase`, and its layers are plain folders
    for (const snapshotter of ["native", "overlayfs"]) {
      const lease = await storeImage(scratch, image);
      const { chainId } = await unpackImage(scratch.containerd, scratch.name, image.manifest.descriptor.digest, {
        snapshotter,
        lease,
        signal,
      });
      trees.push(await withRootfs(scratch, snapshotter, chainId!, listTree));
    }
    expect(trees[1]).toBe(trees[0]);
    expect(trees[1]).toMatch(/^tmp d 1777 7 /m);
    expect(trees[1]).not.toMatch(/gone/);
  });
});

/** Later layers delete, replace and write into what earlier ones made, with and without naming the folder. */
function changingLayers(): LayerFiles[] {
  return [
    {
      "tmp/": { mode: 0o1777, uid: 7 },
      "etc/": "",
      "etc/gone": "1",
      "etc/kept": "1",
      "docs/": "",
      "docs/gone": "1",
      "docs/deep/": "",
      "docs/deep/gone": "1",
      "opaque/": { mode: 0o700 },
      "opaque/gone": "1",
      "folder-then-file/": "",
      "folder-then-file/gone": "1",
      "file-then-folder": "gone",
      "link-then-folder": { linkTo: "etc" },
      "folder-then-link/": "",
      "folder-then-link/gone": "1",
      "unnamed/": { mode: 0o710, uid: 9 },
      "unnamed/deep/": { mode: 0o701, uid: 8 },
      "unnamed/deep/gone": "1",
    },
    {
      "etc/": "",
      "etc/.wh.gone": "",
      ".wh.docs": "",
      "folder-then-file": "file",
      ".wh.file-then-folder": "",
      "file-then-folder/": { mode: 0o750 },
      "file-then-folder/new": "2",
      "link-then-folder/": "",
      "link-then-folder/new": "2",
      "folder-then-link": { linkTo: "etc/kept" },
    },
    // names none of its folders: their modes and owners are those of the layers below
    { "tmp/new": { text: "3", mode: 0o4755, uid: 3 }, "unnamed/deep/.wh.gone": "", "opaque/.wh..wh..opq": "", "opaque/new": "3" },
    { "docs/": "", "docs/new": "4", "etc/": { mode: 0o711 } },
  ];
}

async function listTree(dir: string): Promise<string> {
  const { stdout } = await run(
    "find",
    [".", "-mindepth", "1", "-printf", "%P %y %m %U %l\n", "-type", "f", "-exec", "cat", "{}", ";", "-printf", "\n"],
    { cwd: dir },
  );
  return stdout.split("\n").toSorted().join("\n");
}

async function storeImage({ ns, name, containerd }: ScratchNamespace, image: TestImage): Promise<string> {
  const lease = `push/${randomUUID()}`;
  await createLease(ns, { id: lease, expiresAtMs: Date.now() + 600_000 }, signal);
  const held = containerd.namespace(name, lease);
  for (const { bytes, descriptor } of [...image.layers, image.config]) await writeBlob(held, bytes, descriptor, {}, signal);
  const children = { [gcLabels.config]: image.config.descriptor.digest } as Record<string, string>;
  for (const [index, layer] of image.layers.entries()) children[gcLabels.layer(index)] = layer.descriptor.digest;
  await writeBlob(held, image.manifest.bytes, image.manifest.descriptor, children, signal);
  return lease;
}

async function withRootfs<T>(
  { ns }: ScratchNamespace,
  snapshotter: string,
  chainId: Digest,
  look: (dir: string) => Promise<T>,
): Promise<T> {
  const key = `view-${randomUUID()}`;
  // the collector would take a view that nothing holds
  const labels = { "containerd.io/gc.root": new Date().toISOString() };
  const { mounts } = await ns.snapshots.view({ snapshotter, key, parent: chainId, labels }, { signal });
  const dir = await mkdtemp(path.join(tmpdir(), "rootfs-"));
  const { type, source, options } = mounts[0]!;
  await run("mount", type === "bind" ? ["--bind", source, dir] : ["-t", type, "-o", options.join(","), source, dir]);
  try {
    return await look(dir);
  } finally {
    await run("umount", [dir]);
    await rm(dir, { recursive: true });
    await ns.snapshots.remove({ snapshotter, key }, { signal });
  }
}
