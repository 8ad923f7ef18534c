import { BuildRefused } from "../builder/buildkit/errors.ts";
import type { BuildPlan } from "../builder/buildkit/frontend-attrs.ts";
import type { Entitlement } from "../config/entitlements.ts";
import type { Settings } from "../config/settings.ts";
import type { BuildInput } from "./types.ts";

/** What the operator says of builds: who makes SBOMs where a build names nobody, and what builds may have that is off else. */
export type HostBuildOptions = Pick<Settings["builder"], "sbomGenerator" | "frontends" | "entitlements">;

/** What users say of a build beside its source, within what the host allows. @throws BuildRefused for an entitlement that it does not */
export function buildOptions(
  { build, labels, noCache }: Pick<BuildInput, "build" | "labels" | "noCache">,
  host: HostBuildOptions = {},
): Omit<BuildPlan, "contextUrl" | "imageName"> {
  const { dockerfile, target, args, platform, provenance, sbom } = build;
  const { sbomGenerator } = host;
  return {
    dockerfile,
    ...(target === undefined ? {} : { target }),
    buildArgs: args,
    labels: { ...labels, ...build.labels },
    noCache,
    ...(platform === undefined ? {} : { platform }),
    ...(provenance === undefined ? {} : { provenance }),
    ...(sbom === undefined ? {} : { sbom: { ...(sbomGenerator === undefined ? {} : { generator: sbomGenerator }), ...sbom } }),
    followsSyntax: host.frontends !== undefined,
    entitlements: requireAllowed(build.entitlements ?? [], host.entitlements ?? []),
  };
}

function requireAllowed(asked: readonly Entitlement[], allowed: readonly Entitlement[]): readonly Entitlement[] {
  const refused = asked.find((each) => !allowed.includes(each));
  if (refused === undefined) return asked;
  const known = allowed.length === 0 ? "none" : allowed.join(", ");
  throw new BuildRefused(`Cannot allow "${refused}": builder.entitlements of the host's settings allows ${known}`);
}
