import { createHash, randomUUID } from "node:crypto";
import { type Containerd, type ContainerdNamespace, ensureNamespace } from "../containerd/client.ts";
import { openContentWriter, writeBlob } from "../containerd/content.ts";
import { deleteImage, getImage, listImages, putImage } from "../containerd/images.ts";
import { gcLabels } from "../containerd/labels.ts";
import { openLease } from "../containerd/leases.ts";
import { unpackImage } from "../containerd/unpack.ts";
import { orgNamespace } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { mediaTypes } from "../oci/media-types.ts";
import { type ImageRecipe, imageRecipe } from "./image-recipe.ts";
import { rootfsTar } from "./rootfs-tar.ts";

export type BuilderImage = { readonly name: string; readonly digest: Digest };

/** Never pulled or pushed: the host part leads nowhere. */
const nameOf = (key: string): string => `builder.slipway.invalid/builder:${key}`;
const ourNames = `name~="^builder\\\\.slipway\\\\.invalid/"`;

/** The builder's image in the org's namespace, unpacked; made from the installed tools when they have changed, else one look-up. */
export async function ensureBuilderImage(
  containerd: Containerd,
  settings: Settings,
  org: string,
  signal: AbortSignal,
): Promise<BuilderImage> {
  const namespace = orgNamespace(org);
  const recipe = await imageRecipe(settings, signal);
  const name = nameOf(recipe.key);
  const present = await getImage(containerd.namespace(namespace), name, signal);
  if (present !== undefined) return { name, digest: present.target.digest };
  await ensureNamespace(containerd, namespace, signal);
  const digest = await importImage(containerd, { namespace, name, recipe, snapshotter: settings.containerd.snapshotter }, signal);
  await forgetOlder(containerd.namespace(namespace), name, signal);
  return { name, digest };
}

type ImportInput = { readonly namespace: string; readonly name: string; readonly recipe: ImageRecipe; readonly snapshotter: string };

async function importImage(containerd: Containerd, input: ImportInput, signal: AbortSignal): Promise<Digest> {
  const { namespace, name, recipe, snapshotter } = input;
  // an hour covers a crash in between: the record below is what keeps the image
  const options = { id: `builder-image/${randomUUID()}`, expiresAtMs: Date.now() + 3_600_000 };
  await using lease = await openLease(containerd, namespace, options, signal);
  const ns = lease.namespace;
  const layer = await writeLayer(ns, recipe, signal);
  const config = await writeJson(ns, imageConfig(layer.digest), mediaTypes.imageConfig, {}, signal);
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.imageManifest, config, layers: [layer] };
  const labels = { [gcLabels.config]: config.digest, [gcLabels.layer(0)]: layer.digest };
  const target = await writeJson(ns, manifest, mediaTypes.imageManifest, labels, signal);
  await unpackImage(containerd, namespace, target.digest, { snapshotter, lease: lease.id, signal });
  await putImage(ns, { name, target, labels: {} }, signal);
  return target.digest;
}

/** Streams the layer into the content store, uncompressed: it is read once, from the same disk. */
async function writeLayer(ns: ContainerdNamespace, recipe: ImageRecipe, signal: AbortSignal): Promise<Descriptor> {
  await using writer = openContentWriter(ns, { ref: `builder-layer/${randomUUID()}` }, signal);
  const hash = createHash("sha256");
  for await (const chunk of rootfsTar(recipe.entries, signal) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    await writer.write(chunk);
  }
  const digest = `sha256:${hash.digest("hex")}` as Digest;
  const size = writer.offsetBytes;
  await writer.commit({ digest, sizeBytes: size, labels: { [gcLabels.uncompressed]: digest } });
  return { mediaType: mediaTypes.layerTar, digest, size };
}

async function writeJson(
  ns: ContainerdNamespace,
  document: object,
  mediaType: string,
  labels: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify(document));
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  await writeBlob(ns, bytes, descriptor, labels, signal);
  return descriptor;
}

function imageConfig(diffId: Digest): object {
  return {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    created: "1970-01-01T00:00:00Z",
    config: {
      Env: ["PATH=/usr/bin:/bin", "HOME=/root", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
      Entrypoint: ["/usr/bin/buildkitd", "--config", "/etc/buildkit/buildkitd.toml"],
      WorkingDir: "/",
    },
    rootfs: { type: "layers", diff_ids: [diffId] },
  };
}

/** Images of earlier tools; a builder that still runs on one keeps its snapshot. */
async function forgetOlder(ns: ContainerdNamespace, current: string, signal: AbortSignal): Promise<void> {
  for (const { name } of await listImages(ns, [ourNames], signal)) {
    if (name !== current) await deleteImage(ns, name, signal);
  }
}
