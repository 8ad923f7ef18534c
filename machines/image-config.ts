import { createHash } from "node:crypto";
import { z } from "zod";
import type { ContainerdNamespace } from "../containerd/client.ts";
import { isNotFound } from "../containerd/client.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { manifestLimitBytes, parseManifest } from "../oci/manifest.ts";
import { MachineError } from "./errors.ts";

/** What a machine needs of an image's config (OCI image-spec, config.md). */
export type ImageConfig = {
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  /** the snapshot that holds all its layers */
  readonly chainId: string;
};

const strings = z.array(z.string()).nullish();
const configSchema = z.object({
  config: z
    .object({
      Entrypoint: strings,
      Cmd: strings,
      Env: strings,
      WorkingDir: z.string().nullish(),
      User: z.string().nullish(),
    })
    .nullish(),
  rootfs: z.object({ type: z.literal("layers"), diff_ids: z.array(z.string()).min(1) }),
});

const architectures: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/** @throws MachineError IMAGE_MISSING, IMAGE_INVALID */
export async function readImageConfig(ctr: ContainerdNamespace, digest: Digest, signal: AbortSignal): Promise<ImageConfig> {
  const bytes = await readContent(ctr, digest, signal);
  const manifest = parseManifest(bytes, mediaTypeOf(bytes));
  if (manifest.kind === "index") return await readImageConfig(ctr, ofThisPlatform(manifest.manifests, digest).digest, signal);
  const parsed = configSchema.safeParse(JSON.parse(new TextDecoder().decode(await readContent(ctr, manifest.config.digest, signal))));
  if (!parsed.success) {
    throw new MachineError("IMAGE_INVALID", `Cannot read the config of image "${digest}": ${z.prettifyError(parsed.error)}`);
  }
  const { config, rootfs } = parsed.data;
  return {
    entrypoint: config?.Entrypoint ?? [],
    command: config?.Cmd ?? [],
    env: config?.Env ?? [],
    workingDir: config?.WorkingDir ?? "",
    user: config?.User ?? "",
    chainId: chainIdOf(rootfs.diff_ids),
  };
}

/** OCI image-spec, config.md#layer-chainid. */
export function chainIdOf(diffIds: readonly string[]): string {
  return diffIds.reduce((parent, diffId) => `sha256:${createHash("sha256").update(`${parent} ${diffId}`).digest("hex")}`);
}

function mediaTypeOf(bytes: Uint8Array): string {
  const json = JSON.parse(new TextDecoder().decode(bytes)) as { mediaType?: unknown; manifests?: unknown };
  if (typeof json.mediaType === "string") return json.mediaType;
  return json.manifests === undefined ? "application/vnd.oci.image.manifest.v1+json" : "application/vnd.oci.image.index.v1+json";
}

function ofThisPlatform(manifests: readonly Descriptor[], index: Digest): Descriptor {
  const architecture = architectures[process.arch] ?? process.arch;
  const found = manifests.find(({ platform }) => platform?.os === "linux" && platform.architecture === architecture);
  if (found !== undefined) return found;
  throw new MachineError("IMAGE_INVALID", `Cannot start image "${index}": it has no manifest for linux/${architecture}`);
}

async function readContent(ctr: ContainerdNamespace, digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  try {
    for await (const { data } of ctr.content.read({ digest }, { signal })) {
      sizeBytes += data.length;
      if (sizeBytes > manifestLimitBytes) throw new MachineError("IMAGE_INVALID", `Cannot read "${digest}": more than 4 MiB of JSON`);
      parts.push(data);
    }
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new MachineError("IMAGE_MISSING", `Cannot find "${digest}" in containerd namespace "${ctr.namespace}": push it again`);
  }
  const bytes = Buffer.concat(parts);
  if (digestOf(bytes, digest.startsWith("sha512") ? "sha512" : "sha256") !== digest) {
    throw new MachineError("IMAGE_INVALID", `Cannot trust "${digest}": containerd's bytes have another digest`);
  }
  return bytes;
}
