import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import Fastify from "fastify";
import { expect, it } from "vitest";
import { createCredentialChecker } from "../../../registry/auth/credentials.ts";
import { createFailedLogins } from "../../../oci/routes/failed-logins.ts";
import { type TokenRouteOptions, registerTokenRoute } from "../../../registry/auth/token-route.ts";

it("lets go of a client whose form never ends, though bytes of it drip in", async () => {
  const credentials = createCredentialChecker({ find: async () => undefined }, undefined);
  const tokens = {} as TokenRouteOptions["tokens"];
  const app = Fastify();
  registerTokenRoute(app, { service: "s", credentials, tokens, failedLogins: createFailedLogins(), requestTimeoutMs: 50 });
  await app.listen({ host: "127.0.0.1", port: 0 });
  const client = connect((app.server.address() as AddressInfo).port, "127.0.0.1");
  // a connection that is cut may end with an error, which is as good
  const cut = once(client, "close", { signal: AbortSignal.timeout(10_000) }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ECONNRESET" && error.code !== "EPIPE") throw error;
  });
  client.on("error", () => {});
  const head = "POST /token HTTP/1.1\r\nhost: registry\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 1000\r\n\r\n";
  client.resume().write(head);
  const drip = setInterval(() => client.write("a"), 10);
  try {
    await cut;
  } finally {
    clearInterval(drip);
    client.destroy();
    await app.close();
  }
  expect(client.destroyed).toBe(true);
});
