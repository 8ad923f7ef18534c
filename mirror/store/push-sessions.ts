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
const firstPauseMs = 500;
const mostPauseMs = 15_000;

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
  /** Something of it broke off and may lie about: with the lease's end the collector is waited for. */
  spoiled(): void;
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
  isSpoiled: boolean;
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
  let isClosed = false;

  function begin(repository: Repository): Session {
    const lease = `${pushLeasePrefix}${randomBytes(12).toString("hex")}`;
    const session: Session = {
      lease,
      ns: containerd.namespace(namespace, lease),
      startedAtMs: Date.now(),
      unsettled: new Set(),
      isSpoiled: false,
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
    const released = release(session);
    if (!session.isSpoiled) await released;
  }

  async function leave(session: Session): Promise<void> {
    session.users -= 1;
    if (session.users > 0 || session.ending.signal.aborted) return;
    if (session.unsettled.size === 0) return end(session);
    session.timer = setTimeout(() => void abandon(session), idleMs).unref();
  }

  /** Nobody goes on with it: the collector takes what was unpacked as well. */
  async function abandon(session: Session): Promise<void> {
    session.isSpoiled = true;
    await end(session);
  }

  /**
   * Deletes the lease; when containerd is away, again and again until the lease has ended by its own expiry. An end that did not happen
   * fails no request: what was asked for is done. Never rejects.
   */
  async function release(session: Session, pauseMs = firstPauseMs): Promise<void> {
    try {
      await deleteLease(bare, session.lease, AbortSignal.timeout(session.isSpoiled ? 30_000 : 10_000), session.isSpoiled);
    } catch {
      session.isSpoiled = true;
      if (isClosed || Date.now() > session.startedAtMs + leaseLifetimeMs) return;
      setTimeout(() => void release(session, Math.min(pauseMs * 2, mostPauseMs)), pauseMs).unref();
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
      session.isSpoiled = true;
      await leave(session);
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
      spoiled: () => void (session.isSpoiled = true),
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
        session.spoiled();
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
      isClosed = true;
      await Promise.allSettled(
        [...all.keys()].map((session) => {
          forget(session);
          return release(session);
        }),
      );
    },
  };
}
