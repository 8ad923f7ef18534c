import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import Fastify from "fastify";
import { expect, it } from "vitest";
import { registerDistribution } from "../../../oci/routes/register-distribution.ts";
import type { DistributionStore } from "../../../oci/store.ts";
import { digestOf } from "../../../oci/digest.ts";

it("asks a store for nothing more when the client went away while it was still authorized", async () => {
  const asked = Promise.withResolvers<AbortSignal>();
  const answer = async (...args: readonly unknown[]): Promise<never> => {
    asked.resolve(args.at(-1) as AbortSignal);
    throw new Error("the client is gone");
  };
  const store = { blobs: { stat: answer, read: answer, mount: answer } } as unknown as DistributionStore;
  const app = Fastify();
  const authorizing = Promise.withResolvers<void>();
  registerDistribution(app, {
    store,
    authorize: async (_request, reply) => {
      const gone = once(reply.raw, "close");
      authorizing.resolve();
      await gone;
    },
  });
  await app.listen({ host: "127.0.0.1", port: 0 });
  try {
    const client = connect((app.server.address() as AddressInfo).port, "127.0.0.1");
    client.write(`GET /v2/a/blobs/${digestOf("x")} HTTP/1.1\r\nhost: registry\r\n\r\n`);
    await authorizing.promise;
    client.destroy();
    expect((await asked.promise).aborted).toBe(true);
  } finally {
    await app.close();
  }
});
