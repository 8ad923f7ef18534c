import type { Peer } from "./location-client.ts";

/** A pull tries no more: upstream has it, too. */
const mostTried = 3;

/** Which of the hosts that may have something are asked, in that order: each once, never this one, and none that failed a moment ago. */
export function choosePeers(found: readonly Peer[], ownHost: string, isAvoided: (peer: Peer) => boolean): readonly Peer[] {
  const byHost = new Map<string, Peer>();
  for (const peer of found) if (peer.host !== ownHost && !byHost.has(peer.host)) byHost.set(peer.host, peer);
  return [...byHost.values()].filter((peer) => !isAvoided(peer)).slice(0, mostTried);
}
