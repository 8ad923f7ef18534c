import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { orgNamespace } from "../../../config/paths.ts";
import { writeBlob } from "../../../containerd/content.ts";
import { createBlobStore } from "../../../mirror/store/blob-store.ts";
import { createDeletes } from "../../../mirror/store/deletion.ts";
import { createManifestStore } from "../../../mirror/store/manifest-store.ts";
import { membership } from "../../../mirror/store/org-repository.ts";
import { createPushSessions } from "../../../mirror/store/push-sessions.ts";
import { createRepositoryTurns } from "../../../mirror/store/repository-turns.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { parseManifestReference } from "../../../oci/reference.ts";
import { parseRepository, parseTag } from "../../../oci/repository.ts";
import { imageHost, orgName } from "../../support/mirror-harness.ts";
import { type ScratchNamespace, openScratchNamespace } from "../../support/scratch-namespace.ts";
import { imageOf } from "../../support/test-image.ts";

const signal = AbortSignal.timeout(120_000);

describe("a deletion that comes while a manifest is pushed, after its children were looked at and before its tag is there", () => {
  const org = orgName("race");
  let scratch: ScratchNamespace;
  beforeAll(async () => {
    scratch = await openScratchNamespace(inject("containerdSocket"), orgNamespace(org));
  });
  afterAll(() => scratch[Symbol.asyncDispose]());

  /** A push into a repository of its own, and what happens in its middle. */
  async function push(
    app: string,
    inTheMiddle: (store: ReturnType<typeof createDeletes>, image: Awaited<ReturnType<typeof imageOf>>) => Promise<unknown>,
  ) {
    const repository = parseRepository(`${org}/${app}`);
    await using sessions = createPushSessions(scratch.containerd, orgNamespace(org));
    const parts = { org, imageHost, ns: scratch.ns, sessions, turns: createRepositoryTurns() };
    const deletes = createDeletes(parts);
    const image = await imageOf([{ file: app }]);
    const unpacker = { unpackPushed: async () => void (await inTheMiddle(deletes, image)) };
    const manifests = createManifestStore({ ...parts, unpacker });
    await sessions.within(repository, signal, async (session) => {
      for (const { bytes, descriptor } of [image.config, ...image.layers]) {
        await writeBlob(session.ns, bytes, descriptor, membership.blobLabels(repository), signal);
        session.wrote(descriptor.digest);
      }
    });
    const written = manifests.write(repository, parseManifestReference("v1"), mediaTypes.imageManifest, image.manifest.bytes, signal);
    await written.catch(() => undefined);
    return { repository, manifests, blobs: createBlobStore(parts), deletes, image, written };
  }

  it("of the manifest leaves it in the repository: the push is the later of both", async () => {
    const pushed = await push("manifest", (deletes, { manifest }) =>
      deletes.manifest(parseRepository(`${org}/manifest`), manifest.descriptor.digest, signal),
    );
    await pushed.written;
    await scratch.collect();
    for (const reference of ["v1", pushed.image.manifest.descriptor.digest].map(parseManifestReference)) {
      expect(await pushed.manifests.read(pushed.repository, reference, signal)).toBeDefined();
    }
  });

  it("of a blob makes the push fail, and leaves no tag", async () => {
    const pushed = await push("blob", (deletes, { layers }) =>
      deletes.blob(parseRepository(`${org}/blob`), layers[0]!.descriptor.digest, signal),
    );
    await expect(pushed.written).rejects.toMatchObject({ code: "MANIFEST_BLOB_UNKNOWN" });
    expect(await pushed.manifests.resolve(pushed.repository, parseManifestReference("v1"), signal)).toBeUndefined();
    expect(await pushed.blobs.stat(pushed.repository, pushed.image.layers[0]!.descriptor.digest, signal)).toBeUndefined();
    expect(await pushed.deletes.tag(pushed.repository, parseTag("v1"), signal)).toBe(false);
  });
});
