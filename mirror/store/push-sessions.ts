import { randomBytes } from "node:crypto";
import type { Containerd, ContainerdNamespace } from "../../containerd/client.ts";
import { addToLease, createLease, deleteLease } from "../../containerd/leases.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";
import { isLeaseGone } from "./storage-error.ts";

/** Every push lease is the mirror's own; others' leases are never touched. */
export const pushLeasePrefix = "push/";
const leaseLifetimeMs = 60 * 60_000;
/** New requests take a new lease well before the old one expires: leases cannot be renewed. */
const joinableMs = 20 * 60_000;
/** A push that goes on has an upload open or a next request within this time. */
const defaultIdleMs = 60_000;
const abandonTries = 20;
const abandonPauseMs = 3_000;

/** The part of a push that one request sees: containerd under the push's lease. */
export type PushSession = {
  readonly lease: string;
  readonly ns: ContainerdNamespace;
  /** Puts content under the lease; look for it again after. */
  pin(digest: Digest, signal: AbortSignal): Promise<void>;
  /** Content just written under the lease, which already holds it. */
  wrote(digest: Digest): void;
  /** The lease was found gone: later requests begin a new one. */
  retire(): void;
  /** Fires when the push is over and its lease goes. */
  readonly ended: AbortSignal;
};

/**
 * One lease per push. The protocol names no push, so requests of one repository share a session until a manifest has taken over
 * everything in it (an image record then holds it all) or nothing has come for a while.
 */
export type PushSessions = AsyncDisposable & {
  /** Joins or begins the repository's push and keeps its lease for as long as the task runs. */
  within<T>(repository: Repository, signal: AbortSignal, task: (session: PushSession) => Promise<T>): Promise<T>;
  /** Like `within`, over several requests: until the disposal of what it answers. */
  join(repository: Repository, signal: AbortSignal): Promise<PushSession & AsyncDisposable>;
  /** Says that image records hold these digests now. */
  settled(repository: Repository, digests: readonly Digest[]): void;
};

type Session = {
  readonly lease: string;
  readonly ns: ContainerdNamespace;
  readonly startedAtMs: number;
  readonly unsettled: Set<Digest>;
  readonly ending: AbortController;
  users: number;
  timer: NodeJS.Timeout | undefined;
};

export function createPushSessions(
  containerd: Containerd,
  namespace: string,
  { idleMs = defaultIdleMs }: { readonly idleMs?: number } = {},
): PushSessions {
  const current = new Map<Repository, Session>();
  const all = new Map<Session, Repository>();
  const bare = containerd.namespace(namespace);

  function begin(repository: Repository): Session {
    const lease = `${pushLeasePrefix}${randomBytes(12).toString("hex")}`;
    const session: Session = {
      lease,
      ns: containerd.namespace(namespace, lease),
      startedAtMs: Date.now(),
      unsettled: new Set(),
      users: 0,
      ending: new AbortController(),
      timer: undefined,
    };
    current.set(repository, session);
    all.set(session, repository);
    return session;
  }

  /** Made anew when someone has deleted it: what it held is looked for again when the manifest comes. */
  async function ensureLease(session: Session, repository: Repository, signal: AbortSignal): Promise<void> {
    const labels = { "slipway.repository": repository };
    await createLease(bare, { id: session.lease, expiresAtMs: session.startedAtMs + leaseLifetimeMs, labels }, signal);
  }

  function forget(session: Session): void {
    session.ending.abort();
    clearTimeout(session.timer);
    const repository = all.get(session);
    all.delete(session);
    if (repository !== undefined && current.get(repository) === session) current.delete(repository);
  }

  async function end(session: Session): Promise<void> {
    if (session.ending.signal.aborted) return;
    forget(session);
    await deleteLease(bare, session.lease, AbortSignal.timeout(10_000));
  }

  async function leave(session: Session): Promise<void> {
    session.users -= 1;
    if (session.users > 0 || session.ending.signal.aborted) return;
    if (session.unsettled.size === 0) return end(session);
    session.timer = setTimeout(() => void abandon(session), idleMs).unref();
  }

  /**
   * Nobody goes on with it: it waits for the collector, which takes what was unpacked as well. containerd may be away; when it stays so,
   * the lease ends by its own expiry.
   */
  async function abandon(session: Session, tries = abandonTries): Promise<void> {
    if (!session.ending.signal.aborted) forget(session);
    try {
      await deleteLease(bare, session.lease, AbortSignal.timeout(30_000), true);
    } catch {
      if (tries > 1) setTimeout(() => void abandon(session, tries - 1), abandonPauseMs).unref();
    }
  }

  async function join(repository: Repository, signal: AbortSignal): Promise<PushSession & AsyncDisposable> {
    const found = current.get(repository);
    const session = found !== undefined && Date.now() - found.startedAtMs < joinableMs ? found : begin(repository);
    session.users += 1;
    clearTimeout(session.timer);
    try {
      await ensureLease(session, repository, signal);
    } catch (error) {
      await leave(session).catch(() => undefined);
      throw error;
    }
    let left = false;
    return {
      lease: session.lease,
      ended: session.ending.signal,
      ns: session.ns,
      async pin(digest, pinSignal) {
        await addToLease(bare, session.lease, { type: "content", id: digest }, pinSignal);
        session.unsettled.add(digest);
      },
      retire() {
        if (current.get(repository) === session) current.delete(repository);
      },
      wrote: (digest) => void session.unsettled.add(digest),
      async [Symbol.asyncDispose]() {
        if (left) return;
        left = true;
        await leave(session);
      },
    };
  }

  return {
    join,
    async within(repository, signal, task) {
      await using session = await join(repository, signal);
      try {
        return await task(session);
      } catch (error) {
        if (isLeaseGone(error)) session.retire();
        throw error;
      }
    },
    settled(repository, digests) {
      for (const [session, owner] of all) {
        if (owner === repository) for (const digest of digests) session.unsettled.delete(digest);
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled([...all.keys()].map(end));
    },
  };
}
