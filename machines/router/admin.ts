import { chmod, mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { fastify, type FastifyInstance } from "fastify";
import { z } from "zod";
import type { Router } from "./router.ts";
import { routeSchema, targetSchema } from "./routes.ts";

const putBody = routeSchema.pick({ port: true, targets: true }).partial({ port: true });
const moveBody = z.strictObject({ from: targetSchema.shape.address, to: targetSchema.shape.address });
const params = routeSchema.pick({ org: true, app: true });

/**
 * The router's admin interface, on a unix socket that only this host's root can open:
 * `PUT /routes/:org/:app` {port?, targets}, `POST /routes/:org/:app/move` {from, to},
 * `GET /routes`, `DELETE /routes/:org/:app`, `GET /in-flight/:address`, `GET /healthz`.
 */
export async function listenAdmin(router: Router, socket: string): Promise<FastifyInstance> {
  const app = fastify({ forceCloseConnections: true });
  app.get("/healthz", () => ({ status: "ok" }));
  app.get("/routes", () => ({ routes: router.list() }));
  app.put("/routes/:org/:app", async (request, reply) => {
    const names = params.safeParse(request.params);
    const body = putBody.safeParse(request.body);
    if (!names.success || !body.success) {
      const error = names.error ?? body.error;
      return await reply.code(400).send({ error: error === undefined ? "" : z.prettifyError(error) });
    }
    const { port, targets } = body.data;
    return await router.put({ ...names.data, targets, ...(port === undefined ? {} : { port }) });
  });
  app.post("/routes/:org/:app/move", async (request, reply) => {
    const names = params.safeParse(request.params);
    const body = moveBody.safeParse(request.body);
    if (!names.success || !body.success) {
      const error = names.error ?? body.error;
      return await reply.code(400).send({ error: error === undefined ? "" : z.prettifyError(error) });
    }
    await router.move(names.data.org, names.data.app, body.data);
    return await reply.code(204).send();
  });
  app.delete("/routes/:org/:app", async (request, reply) => {
    const names = params.safeParse(request.params);
    if (!names.success) return await reply.code(400).send({ error: z.prettifyError(names.error) });
    await router.delete(names.data.org, names.data.app);
    return await reply.code(204).send();
  });
  app.get<{ Params: { address: string } }>("/in-flight/:address", (request) => ({ count: router.inFlight(request.params.address) }));
  await mkdir(path.dirname(socket), { recursive: true, mode: 0o700 });
  await rm(socket, { force: true });
  await app.listen({ path: socket });
  await chmod(socket, 0o600);
  return app;
}
