import { digestEncoded, digestOf } from "../../oci/digest.ts";

/** A tag of this attempt's own: what an earlier attempt still pushes cannot be taken for this one's. */
export const runTag = (runId: string, attempt: number): string => `${runTagPrefix(runId)}${attempt}`;

/** What the tags of all attempts of a run begin with. */
export const runTagPrefix = (runId: string): string => `run-${digestEncoded(digestOf(runId)).slice(0, 12)}-`;

/** Whether a run pushed it; any other tag is somebody's own. */
export const isRunTag = (tag: string): boolean => /^run-[0-9a-f]{12}-\d+$/.test(tag);
