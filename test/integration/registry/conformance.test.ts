import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { runOciSuite, suiteVersions } from "../../conformance/oci-suite.ts";
import { type RegistryUnderTest, openRegistryUnderTest } from "../../conformance/registry-under-test.ts";
import { renderReports } from "../../conformance/render-report.ts";

describe("the registry under the conformance suite of distribution-spec", () => {
  let registry: RegistryUnderTest;

  beforeAll(async () => {
    registry = await openRegistryUnderTest(inject("toolsBinDir"));
  });
  afterAll(() => registry[Symbol.asyncDispose]());

  it.each(suiteVersions)("passes version %s, with everything switched on", async (version) => {
    const report = await runOciSuite(version, { toolsBinDir: inject("toolsBinDir"), ...registry });
    expect(report.failed, renderReports([report])).toEqual([]);
    // fewer tests run when one that others need fails
    expect(report.passed).toBeGreaterThan(750);
    expect(report.disabled).toEqual(["Sparse Manifests"]);
    // a blob of an unnamed repository would tell who else has it
    expect(report.skipped.map(({ name }) => name.split("/").at(-1))).toEqual(["blob-mount-anonymous", "blob-mount-anonymous"]);
    expect(report.verdicts).toMatchObject({ Referrers: "Pass", "Manifest put with tag params": "Pass", "Blob upload cancel": "Pass" });
  });
});
