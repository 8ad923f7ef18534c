import { Readable } from "node:stream";
import { fastify, type FastifyInstance } from "fastify";
import { z } from "zod";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import { isMachineId } from "../check-plan.ts";
import { followFile, linesOf } from "./follow.ts";
import { lineLimitBytes, presentableLine } from "../../config/strip-control.ts";
import { readTail } from "./tail.ts";

const flag = z.enum(["0", "1"]).default("0");
const machineQuery = z.object({ tail: z.coerce.number().int().min(0).max(100_000).default(100), follow: flag });
const buildQuery = z.object({ from: z.coerce.number().int().min(0).default(0), follow: flag });
const buildName = /^[0-9a-f]{16,128}$/;

/**
 * The logs of this host over HTTP, for `watch` and `logs`:
 * `GET /machines/:org/:id/log?tail=N&follow=1` plain text without control characters,
 * `GET /builds/:digest/log?from=BYTES&follow=1` the build's JSON lines, up to the one of type "end",
 * `GET /healthz`.
 */
export function createLogServer(settings: Settings): FastifyInstance {
  const app = fastify({ forceCloseConnections: true });
  app.get("/healthz", () => ({ status: "ok" }));

  app.get<{ Params: { org: string; id: string } }>("/machines/:org/:id/log", async (request, reply) => {
    const { org, id } = request.params;
    const query = machineQuery.safeParse(request.query);
    if (!query.success || !isMachineId(org) || !isMachineId(id))
      return await reply.code(400).send({ error: "wrong machine, tail or follow" });
    const file = instancePaths.machineLog(settings, org, id);
    return await reply.type("text/plain; charset=utf-8").send(streamOf(reply.raw, (signal) => machineLines(file, query.data, signal)));
  });

  app.get<{ Params: { digest: string } }>("/builds/:digest/log", async (request, reply) => {
    const query = buildQuery.safeParse(request.query);
    if (!query.success || !buildName.test(request.params.digest))
      return await reply.code(400).send({ error: "wrong build, from or follow" });
    const file = instancePaths.buildLog(settings, request.params.digest);
    return await reply.type("application/jsonl").send(streamOf(reply.raw, (signal) => buildLines(file, query.data, signal)));
  });
  return app;
}

export type Closing = { once(event: "close", listener: () => void): unknown };

/** Ends the source when the client has gone. */
export function streamOf(response: Closing, source: (signal: AbortSignal) => AsyncIterable<string | Buffer>): Readable {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  const untilGone = async function* () {
    try {
      yield* source(gone.signal);
    } catch (error) {
      if (!gone.signal.aborted) throw error;
    }
  };
  return Readable.from(untilGone(), { objectMode: false });
}

export async function* machineLines(file: string, query: z.infer<typeof machineQuery>, signal: AbortSignal): AsyncGenerator<string> {
  const { lines, endBytes } = await readTail(file, query.tail);
  for (const line of lines) yield `${line}\n`;
  if (query.follow === "0") return;
  for await (const line of linesOf(followFile(file, { from: endBytes, follow: true, signal }), lineLimitBytes)) {
    yield `${presentableLine(line)}\n`;
  }
}

async function* buildLines(file: string, query: z.infer<typeof buildQuery>, signal: AbortSignal): AsyncGenerator<string> {
  const follow = query.follow === "1";
  for await (const line of linesOf(followFile(file, { from: query.from, follow, signal }), Number.POSITIVE_INFINITY)) {
    yield `${line}\n`;
    if (follow && isEnd(line)) return;
  }
}

function isEnd(line: string): boolean {
  if (!line.includes('"end"')) return false;
  try {
    return (JSON.parse(line) as { type?: unknown }).type === "end";
  } catch {
    return false;
  }
}
