import type { Server } from "node:https";
import { isLoopback } from "../../config/builder-gate.ts";
import { keepCertificateFresh } from "../../config/tls/keep-certificate-fresh.ts";
import { readTlsPair } from "../../config/tls/tls-files.ts";
import { type GateDeps, createGateApp } from "./gate-app.ts";
import { createTunnels } from "./tunnels.ts";

type Log = { info(fields: object, message: string): void; error(fields: object, message: string): void };
type OpenGateOptions = { readonly log: Log; readonly signal: AbortSignal };

/**
 * The one way to the builders from outside of their host: for clients with the right to push in the whole org. `signal` is for the opening.
 * Disposing ends what goes through it.
 * @throws Error when it is to listen for others than this host without TLS, or cannot listen; TlsError for a wrong certificate.
 */
export async function openGate(deps: GateDeps, { log, signal }: OpenGateOptions): Promise<AsyncDisposable | undefined> {
  const { gate } = deps.settings.builder;
  if (gate === undefined) return undefined;
  if (gate.tls === undefined && !isLoopback(gate.listen.host)) {
    throw new Error(
      `Cannot open the builders' gate: builder.gate.listen.host is "${gate.listen.host}", where tokens would travel unencrypted; set builder.gate.tls, or listen on 127.0.0.1 and reach it through ssh -L`,
    );
  }
  const tls = gate.tls === undefined ? undefined : { ...gate.tls, setting: "builder.gate.tls" };
  const pair = tls === undefined ? undefined : await readTlsPair(tls, signal);
  const app = createGateApp(deps, pair);
  const tunnels = createTunnels(deps);
  app.server.on("upgrade", tunnels.take);
  await app.listen(gate.listen);
  const stopping = new AbortController();
  if (tls !== undefined && pair !== undefined) void keepCertificateFresh(app.server as unknown as Server, tls, pair, log, stopping.signal);
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort();
      const closed = app.close();
      await tunnels[Symbol.asyncDispose]();
      await closed;
    },
  };
}
