import { Client, Connection } from "@temporalio/client";
import { loadClientConnectConfig } from "@temporalio/envconfig";
import type { Settings } from "../../config/settings.ts";
import type { TemporalPlugin } from "../../config/tracing/process-tracing.ts";
import { CliError } from "../errors.ts";

/** The control plane as the CLI sees it. Disposing closes the connection. */
export type ControlPlane = AsyncDisposable & {
  readonly client: Client;
  readonly namespace: string;
  /** Temporal UI's page of a workflow */
  uiOf(workflowId: string): string;
};

const connectTimeoutMs = 3000;

/**
 * Connects as the `temporal` CLI would when TEMPORAL_* variables or a profile say so, else to the instance's own server.
 * @param consequence what it means for the user that nothing answers
 * @throws CliError (exit code 10) when nothing answers within 3 s.
 */
export async function connectControlPlane(
  settings: Settings,
  consequence = "",
  plugins: readonly TemporalPlugin[] = [],
): Promise<ControlPlane> {
  const profile = loadClientConnectConfig();
  const address = profile.connectionOptions.address ?? settings.temporal.address;
  const namespace = profile.namespace ?? settings.temporal.namespace;
  const { tls, apiKey, metadata } = profile.connectionOptions;
  const connection = await Connection.connect({
    address,
    connectTimeout: connectTimeoutMs,
    ...(tls === undefined ? {} : { tls }),
    ...(typeof apiKey === "string" ? { apiKey } : {}),
    ...(metadata === undefined ? {} : { metadata: metadata as Record<string, string> }),
  }).catch((cause: unknown) => {
    throw new CliError(`Cannot reach Temporal at "${address}"${consequence}`, {
      outcome: { kind: "control plane unreachable" },
      tryCommand: "slipway up",
      cause,
    });
  });
  const client = new Client({ connection, namespace, plugins: [...plugins] });
  return {
    client,
    namespace,
    uiOf: (workflowId) =>
      `${settings.temporal.uiUrl.replace(/\/$/, "")}/namespaces/${encodeURIComponent(namespace)}/workflows/${encodeURIComponent(workflowId)}`,
    [Symbol.asyncDispose]: () => connection.close(),
  };
}
