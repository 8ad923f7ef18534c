import type { FastifyInstance } from "fastify";
import type { Readiness } from "./readiness.ts";

/** `/healthz`: the process is alive and its event loop turns. `/readyz`: it can serve, S3 included. */
export function registerHealth(app: FastifyInstance, readiness: Readiness): void {
  app.get("/healthz", async () => ({ status: "ok" }));
  app.get("/readyz", async (_request, reply) => {
    const look = await readiness.check();
    reply.header("cache-control", "no-store");
    return look.ready ? { status: "ready" } : reply.code(503).send({ status: "unavailable", reason: look.reason });
  });
}
