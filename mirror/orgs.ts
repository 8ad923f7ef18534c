import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import path from "node:path";
import { z } from "zod";
import { isOrgName, orgNameRule } from "../config/org-name.ts";
import { orgNamespace } from "../config/paths.ts";
import { type Containerd, ensureNamespace } from "../containerd/client.ts";
import { deleteLease, listLeases } from "../containerd/leases.ts";
import type { Digest } from "../oci/digest.ts";
import { DistributionError } from "../oci/errors.ts";
import type { Repository } from "../oci/repository.ts";
import type { OrgAccess } from "./access/org-access.ts";
import { type ContainerdStore, createContainerdStore } from "./store/containerd-store.ts";
import { type Listener, type ListenerState, openListener } from "./serve/listeners.ts";
import type { FetchedContent } from "./store/fetched-content.ts";
import { requireOwnRepository } from "./store/org-repository.ts";
import { pushLeasePrefix } from "./store/push-sessions.ts";
import { type MirrorLimits, createMirrorLimits } from "./limits/mirror-limits.ts";
import type { OrgLimits } from "./limits/org-limits.ts";
import type { FreeSpace } from "./limits/free-space.ts";
import { createBlobFetches } from "./pull/blob-fetches.ts";
import type { ReadableStore } from "./pull/readable-store.ts";
import type { ReadyImage, WantedImage } from "./pull/fetch-image.ts";
import { type ImageFetches, createImageFetches } from "./pull/image-fetches.ts";
import type { Peers } from "./peers/peers.ts";
import { type StoreSources, imageSource, selectStore, sourceStore } from "./serve/select-store.ts";
import { type JoinedSources, createJoinedSources } from "./sources/joined-sources.ts";
import type { Certificates } from "./tls/certificates.ts";
import { createApplyTurns } from "./unpack/apply-turns.ts";
import type { MirrorLog } from "./unpack/unpack-pushed.ts";
import { type UploadTimes, uploadRefPrefix } from "./store/upload-store.ts";
import { writeFileAtomic } from "../config/write-file-atomic.ts";

export const orgName = z.string().refine(isOrgName, `expected ${orgNameRule}`);
export const orgAddresses = z.array(z.string().refine((text) => isIP(text) !== 0, "expected an IP address")).max(8);
const orgsFile = z.record(orgName, orgAddresses);

export type OrgState = { readonly org: string; readonly listeners: readonly ListenerState[] };

export type OrgsOptions = {
  readonly containerd: Containerd;
  /** `orgs.json` and what is just being fetched live here */
  readonly stateDir: string;
  readonly ports: readonly number[];
  /** HTTPS beside HTTP on every port; without them HTTP alone */
  readonly certificates?: Certificates;
  readonly snapshotter: string;
  readonly sources: Omit<StoreSources, "org" | "local" | "copies" | "fetches" | "fetched" | "peers">;
  /** other hosts' mirrors; absent: they are not asked */
  readonly peers?: Peers;
  readonly log: MirrorLog;
  readonly pushIdleMs?: number;
  readonly uploads?: UploadTimes;
  /** absent: the defaults, and no floor under the free space */
  readonly limits?: MirrorLimits;
  /** the floor under the disk of `stateDir`, where fetches pass through; absent: none */
  readonly stateSpace?: FreeSpace;
  /** who may do what on an org's sockets; absent: no credential is asked for */
  readonly access?: (org: string) => OrgAccess;
};

/** The orgs of this host that the mirror serves, each on sockets of its own. */
export type Orgs = AsyncDisposable & {
  /** Serves the org on exactly these addresses; answers once it does, and remembers it over restarts. */
  put(org: string, addresses: readonly string[], signal: AbortSignal): Promise<OrgState>;
  list(): readonly OrgState[];
  /** Makes an image of a served org ready on this host. @throws DistributionError NAME_UNKNOWN for another org's, and as `fetchImage`. */
  fetchImage(org: string, wanted: WantedImage, signal: AbortSignal): Promise<ReadyImage>;
  /** Why builds do not get a source; undefined when nothing is known against it. */
  sourceFault(org: string, source: { readonly repository: Repository; readonly digest: Digest }): string | undefined;
  /** What this host itself has of an org; undefined when it does not serve it. */
  local(org: string): ReadableStore | undefined;
};

type Served = {
  readonly store: ContainerdStore;
  readonly images: ImageFetches;
  readonly sources: JoinedSources;
  readonly limits: OrgLimits;
  readonly listeners: Map<string, Listener>;
};

/** Serves again whatever was served before, as soon as its addresses exist. */
export async function openOrgs(options: OrgsOptions, signal: AbortSignal): Promise<Orgs> {
  const { containerd, stateDir, ports, certificates, sources, log } = options;
  const tls = certificates === undefined ? {} : { certificates };
  const accessOf = (org: string) => (options.access === undefined ? {} : { access: options.access(org) });
  const file = path.join(stateDir, "orgs.json");
  const served = new Map<string, Promise<Served>>();
  const limits = options.limits ?? createMirrorLimits({ containerd });
  const applyTurns = createApplyTurns({ room: limits.space });
  const { peers } = options;
  const fetches = createBlobFetches({
    dir: path.join(stateDir, "fetching"),
    ...(options.stateSpace === undefined ? {} : { space: options.stateSpace }),
  });
  let turn: Promise<unknown> = Promise.resolve();

  async function begin(org: string): Promise<Served> {
    const limit = AbortSignal.timeout(30_000);
    await ensureNamespace(containerd, orgNamespace(org), limit);
    await sweepPushes(containerd, org, limit);
    const ofOrg = limits.of(org);
    const store = createContainerdStore({
      ...options,
      org,
      imageHost: sources.imageHost,
      applyTurns,
      intake: ofOrg.intake,
      ...(peers === undefined ? {} : { recorded: peers.has }),
    });
    const durable = (fetched: FetchedContent) =>
      imageSource({ org, upstream: sources.upstream, fetches, fetched, ...(peers === undefined ? {} : { peers }) });
    return {
      store,
      images: createImageFetches((wanted, wantedSignal) => store.fetchImage(durable, wanted, wantedSignal)),
      sources: createJoinedSources(org, sourceStore({ org, upstream: sources.upstream, copies: store.copies, fetches })),
      limits: ofOrg,
      listeners: new Map(),
    };
  }

  async function serve(org: string, addresses: readonly string[]): Promise<Served> {
    const starting = served.get(org) ?? begin(org);
    served.set(org, starting);
    try {
      const found = await starting;
      for (const [address, listener] of found.listeners) {
        if (addresses.includes(address)) continue;
        found.listeners.delete(address);
        await listener[Symbol.asyncDispose]();
      }
      for (const address of addresses) {
        if (found.listeners.has(address)) continue;
        const store = selectStore.bind(undefined, {
          ...sources,
          org,
          local: found.store,
          fetched: found.store.fetched,
          copies: found.store.copies,
          fetches,
          ...(peers === undefined ? {} : { peers }),
        });
        const options = { org, address, ports, store, sources: found.sources, log, limits: found.limits, ...tls, ...accessOf(org) };
        found.listeners.set(address, openListener(options));
      }
      return found;
    } catch (error) {
      if (served.get(org) === starting) served.delete(org);
      throw error;
    }
  }

  async function remember(): Promise<void> {
    const orgs: Record<string, string[]> = {};
    for (const [org, starting] of served) orgs[org] = [...(await starting).listeners.keys()];
    await writeFileAtomic(file, JSON.stringify(orgs, undefined, 2));
  }

  const current = new Map<string, Served>();
  /** One change at a time, so that the file is what was asked last. */
  function change(org: string, addresses: readonly string[]): Promise<Served> {
    const next = turn.then(async () => {
      const found = await serve(org, addresses);
      current.set(org, found);
      await remember();
      return found;
    });
    turn = next.catch(() => undefined);
    return next;
  }

  const stateOf = (org: string, { listeners }: Served): OrgState => ({
    org,
    listeners: [...listeners.values()].map((listener) => listener.state()),
  });

  for (const [org, addresses] of Object.entries(await readOrgs(file))) {
    signal.throwIfAborted();
    await change(org, addresses);
  }

  return {
    async put(org, addresses, putSignal) {
      const found = await change(org, addresses);
      await Promise.all([...found.listeners.values()].map((listener) => listener.listening(putSignal)));
      return stateOf(org, found);
    },
    async fetchImage(org, wanted, fetchSignal) {
      requireOwnRepository(org, wanted.repository);
      const found = current.get(org);
      if (found === undefined) throw new DistributionError("NAME_UNKNOWN", { org, reason: "this host does not serve it yet" });
      return await found.images.fetch(wanted, fetchSignal);
    },
    sourceFault: (org, { repository, digest }) => current.get(org)?.sources.faultOf(repository, digest),
    local: (org) => current.get(org)?.store,
    list: () => [...current].map(([org, found]) => stateOf(org, found)),
    async [Symbol.asyncDispose]() {
      await turn;
      const all = [...current.values()];
      await Promise.allSettled(
        all.map(async ({ listeners, images }) => {
          await images[Symbol.asyncDispose]();
          await Promise.allSettled([...listeners.values()].map((listener) => listener[Symbol.asyncDispose]()));
        }),
      );
      await fetches[Symbol.asyncDispose]();
      await Promise.allSettled(all.map(({ store }) => store[Symbol.asyncDispose]()));
    },
  };
}

async function readOrgs(file: string): Promise<z.infer<typeof orgsFile>> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw error;
  }
  return orgsFile.parse(JSON.parse(text));
}

/** What an earlier mirror left: connections died with it, so nobody continues those pushes. */
async function sweepPushes(containerd: Containerd, org: string, signal: AbortSignal): Promise<void> {
  const ns = containerd.namespace(orgNamespace(org));
  const left = (await listLeases(ns, signal)).filter(({ id }) => id.startsWith(pushLeasePrefix));
  // the last waits for the collector: it takes what was unpacked for no image
  for (const [index, { id }] of left.entries()) await deleteLease(ns, id, signal, index === left.length - 1);
  for (const { ref } of (await ns.content.listStatuses({}, { signal })).statuses) {
    if (ref.startsWith(uploadRefPrefix)) await ns.content.abort({ ref }, { signal }).catch(() => undefined);
  }
}
