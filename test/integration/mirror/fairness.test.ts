import { once } from "node:events";
import { type ClientRequest, request as httpRequest } from "node:http";
import { expect, it } from "vitest";
import { openMirrorHarness, orgName, pushImage } from "../../support/mirror-harness.ts";
import { beginUpload } from "../../support/raw-push.ts";
import { imageOf } from "../../support/test-image.ts";

/** more than the mirror takes bodies from at once, and less than an org may have open */
const slowClients = 40;

it("an org whose clients hold every turn, and send nothing, does not keep another org's push out", async () => {
  await using mirror = await openMirrorHarness();
  const [greedy, modest] = [await mirror.org(orgName("greedy")), await mirror.org(orgName("modest"))];
  const requests: ClientRequest[] = [];
  for (let more = 0; more < slowClients; more += 1) {
    const url = await beginUpload(greedy.baseUrl, greedy.repository("web"));
    const request = httpRequest(url, { method: "PATCH", agent: false }).on("error", () => undefined);
    request.write(Buffer.alloc(64 * 1024));
    await once(request, "socket");
    requests.push(request);
  }
  const image = await imageOf([{ page: "of the modest one" }]);
  expect(await pushImage(modest.client, modest.repository("web"), "v1", image)).toBe(2);
  for (const request of requests) request.destroy();
});
