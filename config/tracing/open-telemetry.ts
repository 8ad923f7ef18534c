import { type Context, ROOT_CONTEXT, SpanKind, SpanStatusCode, context, propagation, trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider, type SpanProcessor } from "@opentelemetry/sdk-trace-node";
import { OpenTelemetryPlugin } from "@temporalio/interceptors-opentelemetry-v2";
import { type SpanOptions, type Tracing, installTracing } from "../../oci/tracing.ts";
import type { ProcessTracing } from "./process-tracing.ts";

export type OpenTelemetryOptions = {
  readonly service: string;
  /** of the collector's OTLP/HTTP endpoint for traces */
  readonly url: string;
  readonly host?: string;
  readonly instance?: string;
};

/** a collector that is down must not keep a process from ending */
const flushTimeoutMs = 1_500;
const kinds = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL } as const;

/** Records the traces of this process and sends them to a collector; loaded only when there is one. */
export function openTelemetry({ service, url, host, instance }: OpenTelemetryOptions): ProcessTracing {
  const ours = resourceFromAttributes({
    "service.name": service,
    ...(instance === undefined ? {} : { "service.namespace": `slipway-${instance}` }),
    ...(host === undefined ? {} : { "host.name": host }),
  });
  const resource = defaultResource()
    .merge(ours)
    .merge(detectResources({ detectors: [envDetector] }));
  const spanProcessor = withoutPolls(new BatchSpanProcessor(new OTLPTraceExporter({ url })));
  const provider = new NodeTracerProvider({ resource, spanProcessors: [spanProcessor] });
  provider.register();
  installTracing(tracingThrough("slipway"));
  return {
    temporalPlugins: [new OpenTelemetryPlugin({ resource, spanProcessor })],
    [Symbol.asyncDispose]: async () => {
      const waited = new Promise<void>((resolve) => setTimeout(resolve, flushTimeoutMs).unref());
      await Promise.race([provider.shutdown().catch(() => {}), waited]);
    },
  };
}

function tracingThrough(name: string): Tracing {
  const tracer = trace.getTracer(name);
  return {
    inSpan: ({ kind, name: spanName, fields, from }, act) =>
      tracer.startActiveSpan(
        spanName,
        { kind: kinds[kind], ...(fields === undefined ? {} : { attributes: fields }) },
        parentOf(from),
        async (span) => {
          try {
            return await act({ traceId: span.spanContext().traceId, set: (more) => void span.setAttributes(more) });
          } catch (error) {
            span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).name });
            throw error;
          } finally {
            span.end();
          }
        },
      ),
    headers: () => {
      const carrier: Record<string, string> = {};
      propagation.inject(context.active(), carrier);
      // baggage is the callers' own affair and no other registry's
      delete carrier["baggage"];
      return carrier;
    },
  };
}

function parentOf(headers: SpanOptions["from"]): Context {
  if (headers === undefined) return context.active();
  const { traceparent, tracestate } = headers;
  return propagation.extract(ROOT_CONTEXT, { traceparent, tracestate });
}

/** A run is asked many times a second how it fares: each time would be a trace of its own that says nothing. */
function withoutPolls(processor: SpanProcessor): SpanProcessor {
  return {
    onStart: (span, parent) => processor.onStart(span, parent),
    onEnd: (span) => {
      if (!/^(?:HandleQuery|QueryWorkflow|DescribeWorkflow)\b/.test(span.name)) processor.onEnd(span);
    },
    forceFlush: () => processor.forceFlush(),
    shutdown: () => processor.shutdown(),
  };
}
