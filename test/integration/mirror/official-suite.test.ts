import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { openMirrorUnderTest } from "../../conformance/mirror-under-test.ts";
import { runOciSuite, suiteVersions } from "../../conformance/oci-suite.ts";
import type { RegistryUnderTest } from "../../conformance/registry-under-test.ts";
import { renderReports } from "../../conformance/render-report.ts";

describe("the mirror under the conformance suite of distribution-spec", () => {
  let mirror: RegistryUnderTest;

  beforeAll(async () => {
    mirror = await openMirrorUnderTest(inject("toolsBinDir"));
  });
  afterAll(() => mirror[Symbol.asyncDispose]());

  it.each(suiteVersions)("passes version %s as the operator, with everything switched on", async (version) => {
    const report = await runOciSuite(version, { toolsBinDir: inject("toolsBinDir"), ...mirror });
    expect(report.failed, renderReports([report])).toEqual([]);
    // fewer tests run when one that others need fails
    expect(report.passed).toBeGreaterThan(750);
    expect(report.disabled).toEqual(["Sparse Manifests"]);
    // a blob of an unnamed repository would tell who else has it
    expect(report.skipped.map(({ name }) => name.split("/").at(-1))).toEqual(["blob-mount-anonymous", "blob-mount-anonymous"]);
    expect(report.verdicts).toMatchObject({ Referrers: "Pass", "Manifest put with tag params": "Pass", "Blob upload cancel": "Pass" });
  });
});
