import { BuildFailed, SourceUnavailable } from "../builder/buildkit/errors.ts";
import type { MirrorAdmin } from "../mirror/admin-client.ts";
import { sourcePath } from "../mirror/sources/source-path.ts";
import type { SourceRef } from "../workflows/types.ts";

export type AskSourceFault = MirrorAdmin["sourceFault"];

/** Where a builder reads a source. @param mirrorAddress `host:port` of the mirror as the builder sees it */
export function contextUrl(mirrorAddress: string, source: SourceRef): string {
  return `http://${mirrorAddress}${sourcePath(source)}`;
}

/**
 * What ended a build whose sources could not be fetched: one that the mirror refuses is refused each time, any other may be there the
 * next time. The builder itself only saw the connection break.
 */
export async function sourceFailure(
  failure: unknown,
  { org, sources }: { readonly org: string; readonly sources: readonly SourceRef[] },
  ask: AskSourceFault,
  signal: AbortSignal,
): Promise<unknown> {
  if (!(failure instanceof SourceUnavailable)) return failure;
  for (const source of sources) {
    // a mirror that does not answer is itself a reason to try again
    const answer = await ask(org, source, signal).catch(() => undefined);
    if (typeof answer?.fault === "string") return new BuildFailed(answer.fault, { lastLines: [] });
  }
  return failure;
}
