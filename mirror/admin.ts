import { chmod, mkdir, rm } from "node:fs/promises";
import path from "node:path";
import fastify from "fastify";
import { z } from "zod";
import { type OrgState, type Orgs, orgAddresses, orgName } from "./orgs.ts";

export const orgBody = z.strictObject({ addresses: orgAddresses });

/** The host worker waits at most this long for a new org's addresses to take connections. */
const listenTimeoutMs = 15_000;

/** The mirror's own interface, on a unix socket that only its user can open. */
export async function openAdmin(orgs: Orgs, socket: string): Promise<AsyncDisposable> {
  const app = fastify({ logger: false, forceCloseConnections: true });
  app.get("/healthz", async () => ({ orgs: orgs.list().length }));
  app.get("/orgs", async () => orgs.list());
  app.put<{ Params: { org: string } }>("/orgs/:org", async (request, reply) => {
    const org = orgName.safeParse(request.params.org);
    const body = orgBody.safeParse(request.body);
    if (!org.success || !body.success) {
      const issue = (org.error ?? body.error)!.issues[0]!;
      return reply.code(400).send({ error: `Cannot serve org "${request.params.org}": ${issue.path.join(".")} ${issue.message}` });
    }
    try {
      return await orgs.put(org.data, body.data.addresses, AbortSignal.timeout(listenTimeoutMs));
    } catch (error) {
      return reply.code(503).send({ error: (error as Error).message, orgs: orgs.list() satisfies readonly OrgState[] });
    }
  });
  await mkdir(path.dirname(socket), { recursive: true, mode: 0o700 });
  await rm(socket, { force: true });
  await app.listen({ path: socket });
  await chmod(socket, 0o600);
  return { [Symbol.asyncDispose]: () => app.close() };
}
