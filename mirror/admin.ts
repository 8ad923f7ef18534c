import { chmod, mkdir, rm } from "node:fs/promises";
import path from "node:path";
import fastify from "fastify";
import { z } from "zod";
import { isDigest } from "../oci/digest.ts";
import { type BuildTokens, longestLifetimeMs, repositoryOf } from "./access/build-tokens.ts";
import { DistributionError } from "../oci/errors.ts";
import { isRepository, isTag } from "../oci/repository.ts";
import { ImageVerificationError } from "./images/image-verification-error.ts";
import { type OrgState, type Orgs, orgAddresses, orgName } from "./orgs.ts";

export const orgBody = z.strictObject({ addresses: orgAddresses });
const imageBody = z.strictObject({
  repository: z.string().refine(isRepository, "expected the name of a repository"),
  digest: z.string().refine(isDigest, "expected a digest"),
  /** names the image on this host as well */
  tag: z.string().refine(isTag, "expected a tag").optional(),
});
const digest = z.string().refine(isDigest, "expected a digest");
export const sourceBody = z.strictObject({
  repository: z.string().refine(isRepository, "expected a repository"),
  digest,
});
export const tokenBody = z.strictObject({
  app: z.string(),
  /** the one blob that the token reads, or the only ones; absent: pull and push in the app's repository */
  blob: z.union([digest, z.array(digest).min(1).max(32)]).optional(),
  lifetimeMs: z.number().int().min(1).max(longestLifetimeMs).optional(),
});

/** The host worker waits at most this long for a new org's addresses to take connections. */
const listenTimeoutMs = 15_000;

/** The mirror's own interface, on a unix socket that only its user can open. */
export async function openAdmin(
  { orgs, tokens }: { readonly orgs: Orgs; readonly tokens: BuildTokens },
  socket: string,
): Promise<AsyncDisposable> {
  const app = fastify({ logger: false, forceCloseConnections: true });
  app.get("/healthz", async () => ({ orgs: orgs.list().length }));
  app.get("/orgs", async () => orgs.list());
  app.put<{ Params: { org: string } }>("/orgs/:org", async (request, reply) => {
    const { org, body, fault } = parse(request, orgBody);
    if (fault !== undefined) return reply.code(400).send({ error: `Cannot serve org "${request.params.org}": ${fault}` });
    try {
      return await orgs.put(org, body.addresses, AbortSignal.timeout(listenTimeoutMs));
    } catch (error) {
      return reply.code(503).send({ error: (error as Error).message, orgs: orgs.list() satisfies readonly OrgState[] });
    }
  });
  app.post<{ Params: { org: string } }>("/orgs/:org/tokens", async (request, reply) => {
    const { org, body, fault } = parse(request, tokenBody);
    if (fault !== undefined) return reply.code(400).send({ error: `Cannot make a token for org "${request.params.org}": ${fault}` });
    const { app: name, blob, lifetimeMs = longestLifetimeMs } = body;
    if (repositoryOf({ org, app: name }) === undefined) {
      return reply.code(400).send({ error: `Cannot make a token for app "${name.slice(0, 80)}": expected the name of a repository` });
    }
    const scope = { org, app: name, ...(blob === undefined ? {} : { blob }) };
    return await tokens.mint(scope, lifetimeMs, Date.now());
  });
  app.post<{ Params: { org: string } }>("/orgs/:org/images", async (request, reply) => {
    const { org, body, fault } = parse(request, imageBody);
    if (fault !== undefined) return reply.code(400).send({ error: `Cannot fetch an image of org "${request.params.org}": ${fault}` });
    const gone = new AbortController();
    reply.raw.once("close", () => gone.abort(new Error("the caller is gone")));
    try {
      return await orgs.fetchImage(org, body, gone.signal);
    } catch (error) {
      const { status, reason } = whyNotFetched(error);
      return reply.code(status).send({ error: `Cannot fetch image "${body.repository}@${body.digest}": ${reason}` });
    }
  });
  app.post<{ Params: { org: string } }>("/orgs/:org/source-faults", async (request, reply) => {
    const { org, body, fault } = parse(request, sourceBody);
    if (fault !== undefined) return reply.code(400).send({ error: `Cannot look at a source of org "${request.params.org}": ${fault}` });
    return { fault: orgs.sourceFault(org, body) ?? null };
  });
  await mkdir(path.dirname(socket), { recursive: true, mode: 0o700 });
  await rm(socket, { force: true });
  await app.listen({ path: socket });
  await chmod(socket, 0o600);
  return { [Symbol.asyncDispose]: () => app.close() };
}

type OrgRequest = { readonly params: { readonly org: string }; readonly body: unknown };
type Parsed<B> =
  | { readonly org: z.infer<typeof orgName>; readonly body: B; readonly fault?: undefined }
  | { readonly org?: undefined; readonly body?: undefined; readonly fault: string };

function parse<S extends z.ZodType>(request: OrgRequest, schema: S): Parsed<z.infer<S>> {
  const org = orgName.safeParse(request.params.org);
  const body = schema.safeParse(request.body);
  if (org.success && body.success) return { org: org.data, body: body.data };
  const issue = (org.error ?? body.error)!.issues[0]!;
  return { fault: `${issue.path.join(".")} ${issue.message}` };
}

function whyNotFetched(error: unknown): { readonly status: number; readonly reason: string } {
  if (error instanceof ImageVerificationError) return { status: 422, reason: error.message };
  if (!(error instanceof DistributionError)) return { status: 503, reason: (error as Error).message };
  const facts = Object.entries(error.detail ?? {}).map(([key, value]) => `${key} "${String(value)}"`);
  return { status: error.status, reason: `${error.code}: ${[error.message, ...facts].join(", ")}` };
}
