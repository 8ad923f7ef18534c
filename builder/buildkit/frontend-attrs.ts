import type { ProvenanceMode, SbomRequest } from "../../config/attestations.ts";

/** What to build, as the Dockerfile frontend and the image exporter take it. */
export type BuildPlan = {
  /** a tar over HTTP; the frontend looks at the bytes, not at the URL, to see that it is one */
  readonly contextUrl: string;
  /** path within the context */
  readonly dockerfile: string;
  readonly target?: string;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly noCache: boolean;
  /** `os/architecture[/variant]`; absent: the builder's own */
  readonly platform?: string;
  readonly provenance?: ProvenanceMode;
  readonly sbom?: SbomRequest;
  /** `host/org/app:tag`, pushed there */
  readonly imageName: string;
};

/** Attributes of `dockerfile.v0` (BuildKit's docs/reference/buildctl.md and frontend/dockerui). */
export function frontendAttrs(plan: BuildPlan): Record<string, string> {
  return {
    context: plan.contextUrl,
    filename: plan.dockerfile,
    // present, it makes the frontend skip `# syntax=`: the built-in frontend builds every Dockerfile, and none is pulled and run
    cmdline: "docker/dockerfile",
    ...(plan.target === undefined ? {} : { target: plan.target }),
    ...(plan.platform === undefined ? {} : { platform: plan.platform }),
    ...(plan.noCache ? { "no-cache": "" } : {}),
    ...(plan.provenance === undefined ? {} : { "attest:provenance": `mode=${plan.provenance}` }),
    ...(plan.sbom === undefined ? {} : { "attest:sbom": plan.sbom.generator === undefined ? "" : `generator=${plan.sbom.generator}` }),
    ...withPrefix("build-arg:", plan.buildArgs),
    ...withPrefix("label:", plan.labels),
  };
}

/** Without attestations one manifest is pushed, with them an index. */
export function exporterAttrs(plan: BuildPlan): Record<string, string> {
  return {
    name: plan.imageName,
    push: "true",
    "oci-mediatypes": "true",
    compression: "zstd",
    "compression-level": "1",
    // the frontend bounds the image's own dates by it; with this, those of the files in its layers, too
    ...(plan.buildArgs.SOURCE_DATE_EPOCH === undefined ? {} : { "rewrite-timestamp": "true" }),
  };
}

function withPrefix(prefix: string, values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [prefix + key, value]));
}
