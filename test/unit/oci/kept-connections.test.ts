import { describe, expect, it } from "vitest";
import { UpstreamError, createDistributionClient } from "../../../oci/distribution-client.ts";
import { parseManifestReference } from "../../../oci/reference.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { openHttpServer } from "../../support/http-server.ts";

const repository = parseRepository("library/app");
const latest = parseManifestReference("latest");
const signal = AbortSignal.timeout(8_000);

describe("a client that keeps its connections", () => {
  it("asks once more when the registry gives up a kept connection at that moment", async () => {
    const answered = new Map<object, number>();
    let received = 0;
    await using server = await openHttpServer((request, response) => {
      received += 1;
      const before = answered.get(request.socket) ?? 0;
      answered.set(request.socket, before + 1);
      if (before > 0) request.socket.destroy();
      else response.writeHead(404).end("{}");
    });
    using registry = createDistributionClient({ baseUrl: server.url });
    for (let question = 1; question <= 3; question += 1) {
      expect(await registry.readManifest(repository, latest, signal)).toBeUndefined();
    }
    expect(received).toBe(5);
  });

  it("does not ask again when a fresh connection breaks", async () => {
    let received = 0;
    await using server = await openHttpServer((request) => {
      received += 1;
      request.socket.destroy();
    });
    using registry = createDistributionClient({ baseUrl: server.url });
    const asking = registry.readManifest(repository, latest, signal);
    await expect(asking).rejects.toBeInstanceOf(UpstreamError);
    await expect(asking).rejects.toMatchObject({ code: "CONNECTION_LOST" });
    expect(received).toBe(1);
  });
});
