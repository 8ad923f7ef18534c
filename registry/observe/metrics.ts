import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { RequestRecord } from "../../oci/routes/request-record.ts";

/** `absent` is a 404, `condition` a conditional write that lost: answers that callers ask for. */
export type S3Outcome = "ok" | "absent" | "condition" | "refused" | "failed" | "aborted";
export type UploadEvent = "started" | "finished" | "failed" | "aborted";

/** What the registry counts, as Prometheus reads it. No label has more values than this code has words: no names, no ids. */
export type RegistryMetrics = {
  request(record: Pick<RequestRecord, "method" | "operation" | "status" | "durationMs" | "receivedBytes" | "sentBytes">): void;
  s3Call(operation: string, outcome: S3Outcome, durationMs: number): void;
  upload(event: UploadEvent): void;
  /** the body of an upload is being taken in: 1, and -1 when it has ended */
  uploadBody(change: 1 | -1): void;
  /** looked at whenever somebody reads the metrics */
  watchPartBuffers(look: () => { readonly lentBytes: number; readonly memoryBytes: number }): void;
  /** connections that ended before they had a request: above the limit, or what came was not HTTP */
  refusedConnection(reason: "limit" | "malformed"): void;
  /** in Prometheus' text format */
  expose(): Promise<{ readonly contentType: string; readonly text: string }>;
};

const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]);
const s3Seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const requestSeconds = [...s3Seconds, 120];

export function createMetrics(): RegistryMetrics {
  const register = new Registry();
  const registers = [register];
  collectDefaultMetrics({ register });
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter({ name: `slipway_registry_${name}`, help, labelNames: [...labelNames], registers });
  const histogram = <L extends string>(name: string, help: string, labelNames: readonly L[], buckets: number[]) =>
    new Histogram({ name: `slipway_registry_${name}`, help, labelNames: [...labelNames], buckets, registers });

  const requests = counter("requests_total", "Requests answered, by what they asked for", ["method", "operation", "status"]);
  const durations = histogram(
    "request_duration_seconds",
    "From the headers of a request to the end of its answer",
    ["method", "operation"],
    requestSeconds,
  );
  const received = counter("received_bytes_total", "Bytes of request bodies");
  const sent = counter("sent_bytes_total", "Bytes of answers, headers and all");
  const uploads = counter("uploads_total", "Upload sessions by what became of them", ["event"]);
  const bodies = new Gauge({ name: "slipway_registry_upload_bodies", help: "Bodies of uploads that are taken in now", registers });
  const s3Calls = counter("s3_calls_total", "Calls of S3, with all their attempts", ["operation", "outcome"]);
  const s3Durations = histogram("s3_call_duration_seconds", "Until S3 has begun its answer", ["operation"], s3Seconds);
  const refused = counter("refused_connections_total", "Connections that ended before they had a request", ["reason"]);
  // series that are there from the start: a rate needs a zero to begin at
  for (const event of ["started", "finished", "failed", "aborted"] as const) uploads.inc({ event }, 0);
  for (const reason of ["limit", "malformed"] as const) refused.inc({ reason }, 0);

  return {
    request: ({ method: given, operation, status, durationMs, receivedBytes, sentBytes }) => {
      const method = methods.has(given) ? given : "other";
      requests.inc({ method, operation, status });
      durations.observe({ method, operation }, durationMs / 1000);
      received.inc(receivedBytes);
      sent.inc(sentBytes);
    },
    s3Call: (operation, outcome, durationMs) => {
      s3Calls.inc({ operation, outcome });
      s3Durations.observe({ operation }, durationMs / 1000);
    },
    upload: (event) => uploads.inc({ event }),
    uploadBody: (change) => bodies.inc(change),
    watchPartBuffers: (look) => {
      new Gauge({
        name: "slipway_registry_part_buffer_bytes",
        help: "Memory for parts of uploads on their way to S3: lent now, and the most that is ever lent",
        labelNames: ["state"],
        registers,
        collect() {
          const { lentBytes, memoryBytes } = look();
          this.set({ state: "lent" }, lentBytes);
          this.set({ state: "most" }, memoryBytes);
        },
      });
    },
    refusedConnection: (reason) => refused.inc({ reason }),
    expose: async () => ({ contentType: register.contentType, text: await register.metrics() }),
  };
}
