import { once } from "node:events";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";

/** A span as OTLP/HTTP carries it in JSON; ids in hex. */
export type CollectedSpan = {
  readonly service: string;
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly failed: boolean;
};

export type OtlpCollector = AsyncDisposable & { readonly endpoint: string; readonly spans: readonly CollectedSpan[] };

type Attribute = { readonly key: string; readonly value: Readonly<Record<string, unknown>> };
type Exported = Omit<CollectedSpan, "service" | "attributes" | "failed"> & {
  readonly attributes?: readonly Attribute[];
  readonly status?: { readonly code?: number };
};
type Export = {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly Exported[] }[];
  }[];
};

/** A collector of traces (OTLP/HTTP, JSON) that keeps what it is sent. */
export async function openOtlpCollector(): Promise<OtlpCollector> {
  const spans: CollectedSpan[] = [];
  const receive = async (request: IncomingMessage, reply: ServerResponse): Promise<void> => {
    const body = Buffer.concat((await request.toArray()) as Buffer[]);
    const text = (request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body).toString();
    // daemons that are not ours find the collector by the same variable, and send Protobuf
    if (request.headers["content-type"] === "application/json") spans.push(...spansOf(JSON.parse(text) as Export));
    reply.writeHead(200, { "content-type": "application/json" }).end("{}");
  };
  const server = createServer((request, reply) => void receive(request, reply));
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function spansOf({ resourceSpans }: Export): CollectedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = String(recordOf(resource.attributes)["service.name"]);
    return scopeSpans
      .flatMap(({ spans }) => spans)
      .map((span) => ({ ...span, service, attributes: recordOf(span.attributes ?? []), failed: span.status?.code === 2 }));
  });
}

const recordOf = (attributes: readonly Attribute[]): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
