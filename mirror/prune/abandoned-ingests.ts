import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type ContainerdNamespace, orUndefined } from "../../containerd/client.ts";

/** What our writers name their ingests; others' are left alone. */
const ourRefs = ["upload-", "write-", "builder-layer/", "fetch-"];
/** An upload that nobody continues is ended long before. */
const idleMs = 60 * 60_000;

/** Ingests of writers that died. containerd itself keeps one without a lease for a day. */
export async function findAbandonedIngests(ns: ContainerdNamespace, nowMs: number, signal: AbortSignal): Promise<string[]> {
  const { statuses } = await ns.content.listStatuses({}, { signal });
  return statuses.flatMap(({ ref, updatedAt }) => {
    const isOurs = ourRefs.some((prefix) => ref.startsWith(prefix));
    return isOurs && updatedAt !== undefined && timestampMs(updatedAt) + idleMs < nowMs ? [ref] : [];
  });
}

export async function abortIngests(ns: ContainerdNamespace, refs: readonly string[], signal: AbortSignal): Promise<void> {
  for (const ref of refs) await orUndefined(ns.content.abort({ ref }, { signal }));
}
