import type { IncomingHttpHeaders } from "node:http";

export type SpanFields = Readonly<Record<string, string | number | boolean>>;

/** The span that is being recorded. */
export type Span = {
  /** absent while tracing is off */
  readonly traceId?: string;
  set(fields: SpanFields): void;
};

export type SpanOptions = {
  readonly kind: "server" | "client" | "internal";
  readonly name: string;
  readonly fields?: SpanFields;
  /** headers of a request that may carry a `traceparent` to go on with; without them the span goes on with the active trace */
  readonly from?: Readonly<IncomingHttpHeaders>;
};

/** What records traces. Tracing is installed once per process, before its first request, and off unless it is. */
export type Tracing = {
  /** Runs `act` as a span; it ends with `act`, failed when that rejects. */
  inSpan<T>(options: SpanOptions, act: (span: Span) => Promise<T>): Promise<T>;
  /** what a request must carry so that its receiver goes on with the active trace (W3C Trace Context) */
  headers(): Readonly<Record<string, string>>;
};

const silent: Span = { set: () => {} };
const off: Tracing = { inSpan: (_options, act) => act(silent), headers: () => ({}) };

let installed = off;

export function installTracing(tracing: Tracing): void {
  installed = tracing;
}

/** The tracing of this process: through here the routes and the client, which must load no library for it, reach it. */
export const tracing: Tracing = {
  inSpan: (options, act) => installed.inSpan(options, act),
  headers: () => installed.headers(),
};

/** The trace that a `traceparent` header belongs to (W3C Trace Context, 3.2); undefined when it is absent or malformed. */
export function traceIdOf(headers: IncomingHttpHeaders): string | undefined {
  const { traceparent } = headers;
  const id =
    typeof traceparent === "string"
      ? /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)/.exec(traceparent)?.[1]
      : undefined;
  return id === undefined || /^0+$/.test(id) ? undefined : id;
}
