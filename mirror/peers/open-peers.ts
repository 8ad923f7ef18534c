import type { Server } from "node:https";
import { systemUser, trustedCa } from "../../config/registry-client.ts";
import type { Settings } from "../../config/settings.ts";
import { keepCertificateFresh } from "../../config/tls/keep-certificate-fresh.ts";
import { readTlsPair } from "../../config/tls/tls-files.ts";
import { createHttpExchange } from "../../oci/client/http-exchange.ts";
import type { DistributionClient } from "../../oci/distribution-client.ts";
import type { DistributionLog } from "../../oci/routes/register-distribution.ts";
import type { ReadableStore } from "../pull/readable-store.ts";
import type { MirrorLog } from "../unpack/unpack-pushed.ts";
import { createAnnouncer } from "./announcer.ts";
import { createLocationBook } from "./location-book.ts";
import { createLocationClient } from "./location-client.ts";
import { createPeerApp } from "./peer-app.ts";
import { createPeerClient } from "./peer-client.ts";
import { createPeerTokens } from "./peer-tokens.ts";
import { type Peers, createPeers } from "./peers.ts";

export type OpenPeers = AsyncDisposable & {
  readonly peers: Peers;
  /** Answers other hosts from what this one has; ends with the signal's abort and the disposal. */
  serve(local: (org: string) => ReadableStore | undefined, log: DistributionLog, signal: AbortSignal): Promise<void>;
};

/** Other hosts' mirrors, as the settings have it; undefined when they are not to be asked. @throws Error when the system token is missing. */
export function openPeers(settings: Settings, log: MirrorLog): OpenPeers | undefined {
  const { mirror, registry, hostId, caBundle } = settings;
  const { peer } = mirror;
  if (peer === undefined) return undefined;
  const { systemToken } = registry;
  if (systemToken === undefined) {
    throw new Error(
      "Cannot pull from other hosts: mirror.peer is set and registry.systemToken is not; set the token that the registry has, or remove mirror.peer",
    );
  }
  if ((peer.tls !== undefined) !== peer.url.startsWith("https:")) {
    throw new Error(`Cannot serve other hosts: mirror.peer.url is "${peer.url}", expected https: with mirror.peer.tls and http: without`);
  }
  const ca = trustedCa(caBundle);
  const trust = ca === undefined ? {} : { ca };
  const tokens = createPeerTokens(systemToken);
  const exchange = createHttpExchange({ connectTimeoutMs: 2_000, idleTimeoutMs: 5_000 }, ca);
  const credentials = { username: systemUser, password: systemToken };
  const locations = createLocationClient({ exchange, registry: new URL(registry.url), credentials });
  const announcer = createAnnouncer(locations, { host: hostId, url: peer.url }, log);
  const clients = new Map<string, DistributionClient>();
  const clientOf = (url: string): DistributionClient => {
    const client = clients.get(url) ?? createPeerClient({ url, tokens, ...trust });
    clients.set(url, client);
    return client;
  };
  const stack = new AsyncDisposableStack();
  stack.defer(() => exchange.close());
  stack.defer(() => {
    for (const client of clients.values()) client[Symbol.dispose]();
  });
  stack.use(announcer);

  return {
    peers: createPeers({ ownHost: hostId, book: createLocationBook(locations), announcer, clientOf, log }),
    async serve(local, requests, signal) {
      const tls = peer.tls === undefined ? undefined : { ...peer.tls, setting: "mirror.peer.tls" };
      const pair = tls === undefined ? undefined : await readTlsPair(tls, signal);
      const app = createPeerApp({ tokens, local, log: requests, ...(pair === undefined ? {} : { tls: pair }) });
      stack.defer(() => app.close());
      await app.listen(peer.listen);
      if (tls !== undefined && pair !== undefined) void keepCertificateFresh(app.server as unknown as Server, tls, pair, requests, signal);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
