import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import type { DistributionClient } from "../../../oci/distribution-client.ts";
import { digestOf } from "../../../oci/digest.ts";
import type { ImageManifest } from "../../../oci/manifest.ts";
import { parseManifestReference } from "../../../oci/reference.ts";
import { parseRepository } from "../../../oci/repository.ts";

const repository = parseRepository("docker.io/library/busybox");
const tag = "sbom-maker";

/** What it says of every image, by BuildKit's protocol for generators of SBOMs: a list of the files that it sees. */
const script = `cd "$BUILDKIT_SCAN_SOURCE"
files=$(find . -type f | sort | sed 's/.*/{"fileName":"&"}/' | paste -sd, -)
document='{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"test","files":['$files']}'
printf '{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","predicate":%s}' "$document" \
  > "$BUILDKIT_SCAN_DESTINATION/$(basename "$BUILDKIT_SCAN_SOURCE").spdx.json"`;

export const sbomMaker = `docker.io/library/busybox:${tag}`;

/** Puts an image that makes SBOMs into the registry: its busybox with another entry point. */
export async function pushSbomMaker(registry: DistributionClient, signal: AbortSignal): Promise<void> {
  const base = await registry.readManifest(repository, parseManifestReference("latest"), signal);
  const manifest = JSON.parse(Buffer.from(base!.bytes).toString()) as ImageManifest;
  const content = await registry.readBlob(repository, manifest.config.digest, undefined, signal);
  const config = JSON.parse((await buffer(content!.body)).toString()) as { config: object };
  const bytes = Buffer.from(JSON.stringify({ ...config, config: { ...config.config, Entrypoint: ["/bin/sh", "-ec", script], Cmd: [] } }));
  const source = { digest: digestOf(bytes), sizeBytes: bytes.length, open: () => Readable.from([bytes]) };
  await registry.pushBlob(repository, source, signal);
  const changed = { ...manifest, config: { ...manifest.config, digest: source.digest, size: bytes.length } };
  const reference = { kind: "tag", tag: tag as never } as const;
  await registry.pushManifest(repository, reference, manifest.mediaType, Buffer.from(JSON.stringify(changed)), signal);
}
