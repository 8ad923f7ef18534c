/** `push-image.ts URL REPOSITORY DIR`: pushes a saved image. A program of its own, as it runs on one of the bench's hosts; password in PASSWORD. */
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { systemUser } from "../../config/registry-client.ts";
import { createDistributionClient } from "../../oci/distribution-client.ts";
import { mediaTypes } from "../../oci/media-types.ts";
import { parseRepository } from "../../oci/repository.ts";
import { fileOf, readSavedImage } from "./image.ts";

const [baseUrl = "", name = "", dir = ""] = process.argv.slice(2);
const password = process.env.PASSWORD;
const signal = AbortSignal.timeout(10 * 60_000);
const repository = parseRepository(name);
const credentials = password === undefined ? {} : { credentials: { username: systemUser, password } };
using client = createDistributionClient({ baseUrl, ...credentials });
const image = await readSavedImage(dir);
for (const digest of image.blobs) {
  const file = fileOf(dir, digest);
  const { size: sizeBytes } = await stat(file);
  await client.pushBlob(repository, { digest, sizeBytes, open: (offset) => createReadStream(file, { start: offset }) }, signal);
}
const reference = { kind: "digest", digest: image.manifest } as const;
await client.pushManifest(repository, reference, mediaTypes.imageManifest, await readFile(fileOf(dir, image.manifest)), signal);
