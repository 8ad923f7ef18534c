import { json } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRegistryClient } from "../../../config/registry-client.ts";
import type { Digest } from "../../../oci/digest.ts";
import { childrenOf, parseManifest } from "../../../oci/manifest.ts";
import { parseManifestReference } from "../../../oci/reference.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { runningProcess } from "../../../stack/child-process.ts";
import { stackFiles } from "../../../stack/files.ts";
import { urlOf } from "../../support/app-url.ts";
import { tinyApp } from "../../support/apps.ts";
import { eventually } from "../../support/eventually.ts";
import { slipway, startSlipway } from "../../support/slipway.ts";
import { type TestStack, startTestStack } from "../../support/stack.ts";
import { pushSbomMaker, sbomMaker } from "./sbom-maker.ts";

type Listed = { images: { digest: string; replication: { status: string; attempts: number } }[] };

let stack: TestStack;

beforeAll(async () => {
  stack = await startTestStack((settings) => ({ ...settings, builder: { ...settings.builder, sbomGenerator: sbomMaker } }));
  const bases = await slipway(stack.dataDir, ["image", "bases", "busybox"]);
  expect(bases.code, bases.stderr).toBe(0);
});

afterAll(async () => {
  signalRegistry("SIGCONT");
  await stack?.stop();
});

const dockerfile = [
  "FROM busybox AS tools",
  "RUN sleep 2",
  "FROM scratch",
  "COPY --from=tools /bin/busybox /bin/busybox",
  "COPY index.html /www/index.html",
  'ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]',
  "",
].join("\n");

describe("replication", () => {
  it("is not in the way of a deploy while upstream hangs, is seen trying, and ends durable once upstream answers", async () => {
    await using app = await tinyApp("web", "replicated", { Dockerfile: dockerfile });
    const deploying = startSlipway(stack.dataDir, ["deploy", app.dir, "-o", "json"]);
    // the source has been fetched by then: from here the run needs nothing of upstream
    await eventually(() => expect(deploying.stderr()).toContain("RUN sleep 2"));
    signalRegistry("SIGSTOP");
    const { code, stdout, stderr } = await deploying.finished;
    const { image } = JSON.parse(stdout) as { image: { digest: string } };
    let meanwhile: string | undefined;
    try {
      // Temporal lists what has just begun a moment later
      await eventually(async () => {
        meanwhile = (await replicationOf(image.digest)).status;
      });
    } finally {
      signalRegistry("SIGCONT");
    }
    expect(code, stderr).toBe(0);
    expect(await (await fetch(await urlOf(stack, "web"))).text()).toBe("replicated");
    expect(["pending", "running", "retrying"]).toContain(meanwhile);

    await eventually(async () => expect((await replicationOf(image.digest)).status).toBe("durable"), 90_000);
    expect(await upstreamHas(image.digest)).toBe(true);
  });

  it("is waited for by `deploy --wait-for replicated`", async () => {
    await using app = await tinyApp("waited", "waited");
    const { code, stdout, stderr } = await slipway(stack.dataDir, ["deploy", app.dir, "-o", "json", "--wait-for", "replicated"]);
    expect(code, stderr).toBe(0);
    const { image } = JSON.parse(stdout) as { image: { digest: string } };
    expect((await replicationOf(image.digest)).status).toBe("durable");
  });

  it("brings provenance and SBOM of an image along, and machines run the image among them", async () => {
    using registry = createRegistryClient(stack.settings);
    const signal = AbortSignal.timeout(60_000);
    await pushSbomMaker(registry, signal);
    await using app = await tinyApp("attested", "attested");
    const options = ["--provenance=max", "--sbom", "--wait-for", "replicated", "-o", "json"];
    const { code, stdout, stderr } = await slipway(stack.dataDir, ["deploy", app.dir, ...options]);
    expect(code, stderr).toBe(0);
    expect(await (await fetch(await urlOf(stack, "attested"))).text()).toBe("attested");

    const { image, machines } = JSON.parse(stdout) as { image: { digest: Digest }; machines: { image_digest: string }[] };
    expect(machines).toMatchObject([{ image_digest: image.digest }]);
    const repository = parseRepository(`${stack.settings.defaultOrg}/attested`);
    const read = async (digest: Digest) => {
      const { bytes, descriptor } = (await registry.readManifest(repository, parseManifestReference(digest), signal))!;
      return parseManifest(bytes, descriptor.mediaType);
    };
    const index = await read(image.digest);
    expect(index.kind === "index" && index.manifests.map(({ platform }) => platform?.os)).toEqual(["linux", "unknown"]);
    const attestation = await read(childrenOf(index)[1]!.digest);
    const statements = [];
    for (const { digest } of childrenOf(attestation).slice(1)) {
      const { body } = (await registry.readBlob(repository, digest, undefined, signal))!;
      statements.push((await json(body)) as { predicateType: string; predicate: { files?: { fileName: string }[] } });
    }
    expect(statements.map(({ predicateType }) => predicateType).toSorted()).toEqual([
      "https://slsa.dev/provenance/v1",
      "https://spdx.dev/Document",
    ]);
    const sbom = statements.find(({ predicate }) => predicate.files !== undefined);
    expect(sbom?.predicate.files).toMatchObject([{ fileName: "./bin/busybox" }, { fileName: "./www/index.html" }]);
  });
});

async function replicationOf(digest: string): Promise<{ status: string; attempts: number }> {
  const { code, stdout, stderr } = await slipway(stack.dataDir, ["image", "list", "-o", "json"]);
  expect(code, stderr).toBe(0);
  const { images } = JSON.parse(stdout) as Listed;
  const image = images.find((candidate) => candidate.digest === digest);
  expect(image, stdout).toBeDefined();
  return image!.replication;
}

async function upstreamHas(digest: string): Promise<boolean> {
  using registry = createRegistryClient(stack.settings);
  const repository = parseRepository(`${stack.settings.defaultOrg}/web`);
  const found = await registry.resolveManifest(repository, parseManifestReference(digest), AbortSignal.timeout(10_000));
  return found !== undefined;
}

function signalRegistry(signal: "SIGSTOP" | "SIGCONT"): void {
  const registry = stack === undefined ? undefined : runningProcess(stackFiles.process(stack.settings, "registry").pidFile);
  if (registry !== undefined) process.kill(registry.pid, signal);
}
