import { describe, expect, it } from "vitest";
import { replicatedImage } from "../../../activities/control-prune.ts";
import { defaultPruneSettings, pruneSettings } from "../../../config/prune-settings.ts";
import { isRunTag, runTag, runTagPrefix } from "../../../mirror/images/run-tag.ts";
import { isLow, policyFor } from "../../../mirror/prune/policy.ts";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { workflowIds } from "../../../workflows/ids.ts";
import { fetchedLabels, lastUseOfFetched } from "../../../mirror/pull/fetched-record.ts";

const GiB = 1024 ** 3;
const policy = { keepReleases: 3, keepForMs: 3_600_000, keepUnusedForMs: 86_400_000 };

describe("the policy of a prune", () => {
  it("calls a disk short below a tenth of it, at most 10 GiB, or below what the settings say", () => {
    expect(isLow({ freeBytes: 4 * GiB, totalBytes: 50 * GiB }, policy)).toBe(true);
    expect(isLow({ freeBytes: 6 * GiB, totalBytes: 50 * GiB }, policy)).toBe(false);
    expect(isLow({ freeBytes: 11 * GiB, totalBytes: 1000 * GiB }, policy)).toBe(false);
    expect(isLow({ freeBytes: 11 * GiB, totalBytes: 1000 * GiB }, { ...policy, lowDiskBytes: 20 * GiB })).toBe(true);
    expect(isLow({ freeBytes: 0, totalBytes: 50 * GiB }, { ...policy, lowDiskBytes: 0 })).toBe(false);
  });

  it("is stricter with what nobody claims while the disk is short, and never with releases", () => {
    const short = { freeBytes: 1, totalBytes: 50 * GiB };
    expect(policyFor(short, policy)).toEqual({ keepReleases: 3, keepForMs: 600_000, keepUnusedForMs: 600_000 });
    expect(policyFor({ freeBytes: 40 * GiB, totalBytes: 50 * GiB }, policy)).toEqual(policy);
  });

  it("takes from the settings what they say, and the defaults for the rest", () => {
    expect(pruneSettings({} as never)).toEqual(defaultPruneSettings);
    expect(pruneSettings({ prune: { keepReleases: 0, lowDiskBytes: 5 } } as never)).toEqual({
      ...defaultPruneSettings,
      keepReleases: 0,
      lowDiskBytes: 5,
    });
  });
});

describe("names and labels that a prune goes by", () => {
  it("tell a run's tags, all attempts of one run by what they begin with, from other tags", () => {
    expect(isRunTag(runTag("run-id", 12))).toBe(true);
    expect(runTag("run-id", 2).startsWith(runTagPrefix("run-id"))).toBe(true);
    expect(runTag("other", 2).startsWith(runTagPrefix("run-id"))).toBe(false);
    for (const tag of ["v1", "run-1", "run-aaaaaaaaaaaa", "run-aaaaaaaaaaaa-1-rc"]) expect(isRunTag(tag)).toBe(false);
  });

  it("tell which image a workflow brings upstream", () => {
    const image = { repository: parseRepository("acme/web/sub"), digest: digestOf("image") };
    expect(replicatedImage(workflowIds.replicateImage(image.repository, image.digest))).toEqual(image);
    expect(replicatedImage("replicate/acme/web/latest")).toBeUndefined();
  });

  it("tell when what was fetched was used last", () => {
    expect(lastUseOfFetched(fetchedLabels("docker.io", 1_700_000_000_000))).toBe(1_700_000_000_000);
    expect(lastUseOfFetched({ ...fetchedLabels("docker.io", 1), "slipway.used": "?" })).toBe(0);
    expect(lastUseOfFetched({})).toBeUndefined();
  });
});
