/** The tracing of one process, as its composition root holds it. Disposing it sends what was recorded, within a second or two. */
export type ProcessTracing = AsyncDisposable & {
  /** for Temporal's clients, workers and bundles; none when tracing is off */
  readonly temporalPlugins: readonly TemporalPlugin[];
};

/** What the Temporal SDK takes as a plugin of a client, a worker and a bundler at once. */
export type TemporalPlugin = InstanceType<typeof import("@temporalio/interceptors-opentelemetry-v2").OpenTelemetryPlugin>;
