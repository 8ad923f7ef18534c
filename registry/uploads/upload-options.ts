import type { Settings } from "../../config/settings.ts";
import type { PartPlan } from "./part-plan.ts";

export type S3UploadOptions = {
  readonly partPlan?: PartPlan;
  /** of parts on their way to S3, for all uploads together; the largest part is no larger than this */
  readonly partMemoryBytes?: number;
  /** of tails that wait for the next request; those beyond it are read from the bucket */
  readonly tailMemoryBytes?: number;
  /** an upload that nobody touches for so long is removed by the sweep */
  readonly idleMs?: number;
};

export const uploadDefaults = {
  partPlan: { sizes: "growing", firstPartBytes: 8 * 1024 * 1024 },
  partMemoryBytes: 40 * 1024 * 1024,
  tailMemoryBytes: 16 * 1024 * 1024,
  idleMs: 24 * 60 * 60 * 1000,
} as const satisfies Required<S3UploadOptions>;

/** What the settings of an instance say of them. */
export function uploadOptions(settings: Settings["registry"]["uploads"]): S3UploadOptions {
  if (settings === undefined) return {};
  const { partSizes, partBytes, memoryBytes } = settings;
  return { partPlan: { sizes: partSizes, firstPartBytes: partBytes }, partMemoryBytes: memoryBytes };
}
