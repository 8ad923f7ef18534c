import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
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

  it("would fail there, did the registry not speak the protocol", async () => {
    const server = createServer((_request, answer) => answer.writeHead(404).end());
    await once(server.listen(0, "127.0.0.1"), "listening");
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const report = await runOciSuite("1.1", { toolsBinDir: inject("toolsBinDir"), url });
      expect(report.failed.map(({ name }) => name)).toContain("OCI Conformance Test/sha256 blobs/post+put/blob-post-put");
      expect(renderReports([report])).toMatch(/FAIL 1\.1 OCI Conformance Test.*\n +blob post failed/);
    } finally {
      server.close();
    }
  });

  it("counts a run without results as a failure, though the suite ends with 0", async () => {
    const run = runOciSuite("1.2" as "1.1", { toolsBinDir: inject("toolsBinDir"), url: "http://127.0.0.1:9" });
    await expect(run).rejects.toThrow(/left no results \(exit code 0\)[^]*unsupported config version 1\.2/);
  });
});
