import { Connection } from "@temporalio/client";
import { loadClientConnectConfig } from "@temporalio/envconfig";
import type { Settings } from "../../config/settings.ts";

export type OpenTemporal = AsyncDisposable & { readonly connection: Connection; readonly address: string; readonly namespace: string };

const connectTimeoutMs = 3_000;

/** Connects as the workers do: `TEMPORAL_*` and `temporal.toml` come before the instance's own address. */
export async function openTemporal({ temporal }: Pick<Settings, "temporal">): Promise<OpenTemporal> {
  const { connectionOptions } = loadClientConnectConfig();
  const address = connectionOptions.address ?? temporal.address;
  const connection = await Connection.connect({ ...connectionOptions, address, connectTimeout: connectTimeoutMs });
  return { connection, address, namespace: temporal.namespace, [Symbol.asyncDispose]: async () => await connection.close() };
}
