import { createServer } from "node:net";
import { afterAll, describe, expect, it } from "vitest";
import { createDeployLogins } from "../../../../mirror/access/deploy-logins.ts";
import { createHttpExchange } from "../../../../oci/client/http-exchange.ts";
import { parseRepository } from "../../../../oci/repository.ts";

describe("a deploy token, while its registry is down", () => {
  const exchange = createHttpExchange({ connectTimeoutMs: 2_000, idleTimeoutMs: 2_000 });
  afterAll(() => exchange.close());

  it("is neither right nor wrong: the client is told to come back, and nothing of it is remembered", async () => {
    const registry = new URL(`http://127.0.0.1:${await closedPort()}`);
    const logins = createDeployLogins({ exchange, registry });
    const login = { username: "ci", password: "a deploy token" };
    const repository = parseRepository("acme/web");
    for (let attempt = 1; attempt <= 2; attempt += 1) {
      await expect(logins.actions(login, repository)).rejects.toMatchObject({
        code: "UNAVAILABLE",
        status: 503,
        detail: { retryAfterSeconds: expect.any(Number) },
      });
      expect(logins.isRemembered(login, repository)).toBe(false);
    }
  });
});

/** A port that nobody listens on: one that was free a moment ago. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
