import { Connection } from "@temporalio/client";
import { loadClientConnectConfig } from "@temporalio/envconfig";
import { NativeConnection } from "@temporalio/worker";
import type { Logger } from "pino";

export type TemporalConnections = { readonly client: Connection; readonly native: NativeConnection; close(): Promise<void> };

const retryMs = 500;

/**
 * Connects to Temporal, for as long as it takes: a worker may well start before its server. The standard `TEMPORAL_*` variables and
 * `temporal.toml` come before the instance's own settings, so that a cluster can take the dev server's place.
 */
export async function connectTemporal({ address }: { readonly address: string }, log: Logger): Promise<TemporalConnections> {
  const { connectionOptions } = loadClientConnectConfig();
  const options = { ...connectionOptions, address: process.env.TEMPORAL_ADDRESS ?? address };
  for (;;) {
    try {
      const [client, native] = await Promise.all([Connection.connect(options), NativeConnection.connect(options)]);
      return { client, native, close: async () => void (await Promise.all([client.close(), native.close()])) };
    } catch (error) {
      log.warn({ address: options.address, error: (error as Error).message }, "Temporal does not answer yet");
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }
}
