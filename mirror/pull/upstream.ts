import type { DistributionClient } from "../../oci/distribution-client.ts";
import { UpstreamError } from "../../oci/distribution-client.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import type { ReadableStore } from "./readable-store.ts";
import { verifiedBody } from "./verified-body.ts";

export type UpstreamOptions = {
  /** what the repository is called there */
  readonly rename?: (repository: Repository) => Repository;
  /** how long a registry that could not be reached is not asked again */
  readonly downMs: number;
  /** it knows us: a 401 means that our token is wrong, and nothing about what we asked for */
  readonly isOurs?: boolean;
};

/** A question that only wants headers waits no longer than this. */
const questionTimeoutMs = 5_000;

/**
 * A registry as a store to read from. Bodies are hashed on their way through. What it may not tell counts as absent; what it cannot
 * tell is UNAVAILABLE, at once for a while after it could not be reached.
 */
export function createUpstreamStore(
  client: DistributionClient,
  { rename = (name) => name, downMs, isOurs = false }: UpstreamOptions,
): ReadableStore {
  let downUntilMs = 0;

  async function ask<T>(question: () => Promise<T | undefined>): Promise<T | undefined> {
    if (Date.now() < downUntilMs) throw unavailable(client, "could not be reached a moment ago");
    try {
      return await question();
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      if (isRefusal(error) && !(isOurs && error.status === 401)) return undefined;
      if (error.code === "CONNECT_FAILED" || error.code === "TIMEOUT") downUntilMs = Date.now() + downMs;
      throw unavailable(client, error.message, error);
    }
  }

  const question = <T>(signal: AbortSignal, put: (limited: AbortSignal) => Promise<T | undefined>): Promise<T | undefined> => {
    const timeout = AbortSignal.timeout(questionTimeoutMs);
    return ask(async () => {
      try {
        return await put(AbortSignal.any([signal, timeout]));
      } catch (error) {
        if (!timeout.aborted || signal.aborted) throw error;
        downUntilMs = Date.now() + downMs;
        throw unavailable(client, `no answer within ${questionTimeoutMs} ms`, error);
      }
    });
  };

  return {
    blobs: {
      stat: (repository, digest, signal) => question(signal, (limited) => client.statBlob(rename(repository), digest, limited)),
      async read(repository, digest, range, signal) {
        const content = await ask(() => client.readBlob(rename(repository), digest, range, signal));
        if (content === undefined) throw new DistributionError("BLOB_UNKNOWN", { digest });
        return content.range === undefined ? { ...content, body: verifiedBody(content.body, digest) } : content;
      },
    },
    manifests: {
      resolve: (repository, reference, signal) =>
        question(signal, (limited) => client.resolveManifest(rename(repository), reference, limited)),
      read: (repository, reference, signal) => question(signal, (limited) => client.readManifest(rename(repository), reference, limited)),
    },
  };
}

/** Docker Hub says 401 for what does not exist; to an anonymous reader that is the same. */
const isRefusal = ({ status }: UpstreamError): boolean => status === 400 || status === 401 || status === 403 || status === 405;

function unavailable(client: DistributionClient, reason: string, cause?: unknown): DistributionError {
  return new DistributionError("UNAVAILABLE", { upstream: client.baseUrl, reason }, cause === undefined ? undefined : { cause });
}
