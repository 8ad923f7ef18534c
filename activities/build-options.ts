import type { BuildPlan } from "../builder/buildkit/frontend-attrs.ts";
import type { BuildInput } from "./types.ts";

/** What users say of a build beside its source. The operator's `sbomGenerator` serves where a build wants an SBOM and names none. */
export function buildOptions(
  { build, labels, noCache }: Pick<BuildInput, "build" | "labels" | "noCache">,
  sbomGenerator?: string,
): Omit<BuildPlan, "contextUrl" | "imageName"> {
  const { dockerfile, target, args, platform, provenance, sbom } = build;
  return {
    dockerfile,
    ...(target === undefined ? {} : { target }),
    buildArgs: args,
    labels: { ...labels, ...build.labels },
    noCache,
    ...(platform === undefined ? {} : { platform }),
    ...(provenance === undefined ? {} : { provenance }),
    ...(sbom === undefined ? {} : { sbom: { ...(sbomGenerator === undefined ? {} : { generator: sbomGenerator }), ...sbom } }),
  };
}
