import { once } from "node:events";
import { createServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { expect, it } from "vitest";
import { answerMalformed } from "../../../oci/routes/malformed-request.ts";

it("lets go of a client that begins no TLS handshake, to whom nothing can be said", async () => {
  const server = createServer({ handshakeTimeout: 20 });
  server.on("clientError", answerMalformed);
  await once(server.listen(0, "127.0.0.1"), "listening");
  const silent = connect((server.address() as AddressInfo).port, "127.0.0.1");
  try {
    silent.resume();
    await once(silent, "close", { signal: AbortSignal.timeout(2_000) });
  } finally {
    silent.destroy();
    server.close();
  }
  expect(silent.destroyed).toBe(true);
});
