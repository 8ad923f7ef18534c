import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createUpstreamStore } from "../../../mirror/pull/upstream.ts";
import { digestOf } from "../../../oci/digest.ts";
import { createDistributionClient } from "../../../oci/distribution-client.ts";
import { parseManifestReference } from "../../../oci/reference.ts";
import { parseRepository } from "../../../oci/repository.ts";

const signal = AbortSignal.timeout(10_000);
const repository = parseRepository("acme/web");
const server = createServer((_request, reply) => void reply.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end());
let baseUrl: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

describe("a registry that says 401", () => {
  it("has not what was asked for, when it is a stranger's", async () => {
    using client = createDistributionClient({ baseUrl });
    const store = createUpstreamStore(client, { downMs: 1 });
    expect(await store.manifests.resolve(repository, parseManifestReference("v1"), signal)).toBeUndefined();
    await expect(store.blobs.read(repository, digestOf("x"), undefined, signal)).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
  });

  it("does not take our token, when it is our own", async () => {
    using client = createDistributionClient({ baseUrl });
    const store = createUpstreamStore(client, { downMs: 1, isOurs: true });
    await expect(store.manifests.resolve(repository, parseManifestReference("v1"), signal)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(store.blobs.stat(repository, digestOf("x"), signal)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});
