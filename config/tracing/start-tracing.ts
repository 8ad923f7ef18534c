import type { Settings } from "../settings.ts";
import type { ProcessTracing } from "./process-tracing.ts";

const off: ProcessTracing = { temporalPlugins: [], [Symbol.asyncDispose]: async () => {} };

/**
 * Records traces when OTEL_EXPORTER_OTLP_ENDPOINT or the settings name a collector; otherwise nothing is loaded and nothing costs.
 * The standard OTEL_* variables come before the settings.
 */
export async function startTracing(service: string, settings?: Pick<Settings, "tracing" | "hostId" | "instance">): Promise<ProcessTracing> {
  const url = collectorUrl(process.env, settings?.tracing?.otlpEndpoint);
  if (url === undefined) return off;
  const { openTelemetry } = await import("./open-telemetry.ts");
  return openTelemetry({ service, url, ...(settings === undefined ? {} : { host: settings.hostId, instance: settings.instance }) });
}

/** Where spans go (OTLP/HTTP); undefined when tracing is off (OpenTelemetry, "Environment Variable Specification"). */
export function collectorUrl(env: NodeJS.ProcessEnv, setting?: string): string | undefined {
  if (env.OTEL_SDK_DISABLED?.toLowerCase() === "true" || env.OTEL_TRACES_EXPORTER === "none") return undefined;
  if (env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) return env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT;
  const base = env.OTEL_EXPORTER_OTLP_ENDPOINT || setting;
  return base === undefined ? undefined : `${base.replace(/\/+$/, "")}/v1/traces`;
}
