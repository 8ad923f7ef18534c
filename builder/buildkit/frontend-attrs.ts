import type { ProvenanceMode, SbomRequest } from "../../config/attestations.ts";
import type { Entitlement } from "../../config/entitlements.ts";
import type { Definition } from "../../proto/gen/github.com/moby/buildkit/solver/pb/ops_pb.ts";
import { tarInput } from "./tar-input.ts";

/** What a name in the Dockerfile stands for in place of a stage or an image. */
export type NamedContext =
  /** as the frontend takes it: `docker-image://…` or a file over HTTP */
  | { readonly address: string }
  /** a tar over HTTP, of which a folder is made */
  | { readonly tarUrl: string };

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
  readonly contexts?: Readonly<Record<string, NamedContext>>;
  /** `os/architecture[/variant]`; absent: the builder's own */
  readonly platform?: string;
  readonly provenance?: ProvenanceMode;
  readonly sbom?: SbomRequest;
  /** `# syntax=` lines are followed; absent: the built-in frontend builds every Dockerfile */
  readonly followsSyntax?: boolean;
  /** what steps that ask for it are given beyond their sandbox */
  readonly entitlements?: readonly Entitlement[];
  /** `host/org/app:tag`, pushed there */
  readonly imageName: string;
};

/** Attributes of `dockerfile.v0` (BuildKit's docs/reference/buildctl.md and frontend/dockerui). */
export function frontendAttrs(plan: BuildPlan): Record<string, string> {
  return {
    context: plan.contextUrl,
    filename: plan.dockerfile,
    // present, it makes the frontend skip `# syntax=`: none is pulled and run
    ...(plan.followsSyntax === true ? {} : { cmdline: "docker/dockerfile" }),
    ...(plan.target === undefined ? {} : { target: plan.target }),
    ...(plan.platform === undefined ? {} : { platform: plan.platform }),
    ...(plan.noCache ? { "no-cache": "" } : {}),
    ...(plan.provenance === undefined ? {} : { "attest:provenance": `mode=${plan.provenance}` }),
    ...(plan.sbom === undefined ? {} : { "attest:sbom": plan.sbom.generator === undefined ? "" : `generator=${plan.sbom.generator}` }),
    ...withPrefix("build-arg:", plan.buildArgs),
    ...withPrefix("label:", plan.labels),
    ...withPrefix(
      "context:",
      mapValues(plan.contexts ?? {}, (context, name) => ("address" in context ? context.address : `input:${name}`)),
    ),
  };
}

/** The contexts that the frontend does not fetch by itself. */
export function frontendInputs({ contexts = {} }: Pick<BuildPlan, "contexts">): Record<string, Definition> {
  const tars = Object.entries(contexts).flatMap(([name, context]) => ("tarUrl" in context ? [[name, context.tarUrl] as const] : []));
  return Object.fromEntries(tars.map(([name, url]) => [name, tarInput(name, url)]));
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

const mapValues = <T>(values: Readonly<Record<string, T>>, change: (value: T, key: string) => string): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, change(value, key)]));

function withPrefix(prefix: string, values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [prefix + key, value]));
}
