import { digestEncoded, digestOf } from "../oci/digest.ts";

/** A run as Temporal names it: the workflow id stands for a key, and a key that failed may be run again. */
export type RunName = { readonly workflowId: string; readonly runId: string };

/** What the build log of a run is called: workflow ids hold slashes. */
export const buildLogName = ({ workflowId, runId }: RunName): string => digestEncoded(digestOf(`${workflowId} ${runId}`));
