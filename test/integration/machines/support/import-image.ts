import { readFileSync } from "node:fs";
import { pack } from "tar-stream";
import type { ContainerdNamespace } from "../../../../containerd/client.ts";
import { chainIdOf } from "../../../../machines/image-config.ts";
import { WriteAction } from "../../../../proto/gen/services/content/v1/content_pb.ts";
import { type Digest, digestOf } from "../../../../oci/digest.ts";

export type TestImage = {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly files?: Readonly<Record<string, string>>;
};

/** A one-layer image of Debian's static busybox, put into containerd with its snapshot; answers the manifest's digest. */
export async function importImage(ctr: ContainerdNamespace, name: string, image: TestImage, signal: AbortSignal): Promise<Digest> {
  const layer = await busyboxLayer(image.files ?? {});
  const diffId = digestOf(layer);
  const config = json({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: image.config ?? {},
    rootfs: { type: "layers", diff_ids: [diffId] },
  });
  const layerDescriptor = { mediaType: "application/vnd.oci.image.layer.v1.tar", digest: diffId, size: layer.length };
  const configDescriptor = { mediaType: "application/vnd.oci.image.config.v1+json", digest: digestOf(config), size: config.length };
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = json({ schemaVersion: 2, mediaType, config: configDescriptor, layers: [layerDescriptor] });
  const digest = digestOf(manifest);
  await write(ctr, layer, {}, signal);
  const snapshot = { "containerd.io/gc.ref.snapshot.overlayfs": chainIdOf([diffId]) };
  await write(ctr, config, snapshot, signal);
  const children = { "containerd.io/gc.ref.content.config": configDescriptor.digest, "containerd.io/gc.ref.content.l.0": diffId };
  await write(ctr, manifest, children, signal);
  await unpack(ctr, layerDescriptor, chainIdOf([diffId]), signal);
  const target = { mediaType, digest, size: BigInt(manifest.length) };
  await ctr.images.create({ image: { name, target } }, { signal });
  return digest;
}

async function write(ctr: ContainerdNamespace, bytes: Buffer, labels: Record<string, string>, signal: AbortSignal): Promise<void> {
  const expected = digestOf(bytes);
  const total = BigInt(bytes.length);
  const ref = `test-${expected}-${crypto.randomUUID()}`;
  const requests = async function* () {
    for (let offset = 0; offset < bytes.length; offset += 1 << 20) {
      yield {
        action: WriteAction.WRITE,
        ref,
        total,
        expected,
        offset: BigInt(offset),
        data: bytes.subarray(offset, offset + (1 << 20)),
        labels,
      };
    }
    yield { action: WriteAction.COMMIT, ref, total, expected, offset: total, labels };
  };
  try {
    for await (const _ of ctr.content.write(requests(), { signal }));
  } catch (error) {
    if (!(error instanceof Error && /already exists/i.test(error.message))) throw error;
  }
}

async function unpack(
  ctr: ContainerdNamespace,
  layer: { mediaType: string; digest: Digest; size: number },
  chainId: string,
  signal: AbortSignal,
): Promise<void> {
  const key = `extract-${crypto.randomUUID()}`;
  const snapshotter = "overlayfs";
  const { mounts } = await ctr.snapshots.prepare({ snapshotter, key }, { signal });
  await ctr.diff.apply({ diff: { ...layer, size: BigInt(layer.size) }, mounts }, { signal });
  try {
    await ctr.snapshots.commit({ snapshotter, key, name: chainId }, { signal });
  } catch (error) {
    if (!(error instanceof Error && /already exists/i.test(error.message))) throw error;
    await ctr.snapshots.remove({ snapshotter, key }, { signal });
  }
}

async function busyboxLayer(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const tar = pack();
  const mtime = new Date(0);
  for (const name of ["bin", "etc", "tmp", "proc", "sys", "dev", "run"]) tar.entry({ name, type: "directory", mode: 0o755, mtime });
  tar.entry({ name: "bin/busybox", mode: 0o755, mtime }, readFileSync("/bin/busybox"));
  for (const applet of ["sh", "httpd", "nc", "cat", "sleep", "id", "mount", "wget", "yes", "head", "env", "nslookup"]) {
    tar.entry({ name: `bin/${applet}`, type: "symlink", linkname: "busybox", mtime });
  }
  for (const [name, text] of Object.entries(files)) tar.entry({ name, mode: 0o644, mtime }, text);
  tar.finalize();
  const parts: Buffer[] = [];
  for await (const part of tar) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
