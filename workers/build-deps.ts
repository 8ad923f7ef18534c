import type { BuildDeps } from "../activities/build.ts";
import { createBuildLogs } from "../builder/build-log.ts";
import type { Builders } from "../builder/builders.ts";
import { mirrorName } from "../builder/names.ts";
import { instancePaths } from "../config/paths.ts";
import { ensureHostKey } from "../config/sealing/host-key.ts";
import type { Settings } from "../config/settings.ts";
import type { MirrorAdmin } from "../mirror/admin-client.ts";

export type BuildParts = {
  readonly settings: Settings;
  readonly builders: Builders;
  readonly mirror: MirrorAdmin;
  readonly ensureOrg: BuildDeps["ensureOrg"];
};

/** What the build activities of a host work with. */
export async function buildDeps({ settings, builders, mirror, ensureOrg }: BuildParts): Promise<BuildDeps> {
  return {
    builders,
    buildLogs: createBuildLogs((name) => instancePaths.buildLog(settings, name)),
    imageHost: settings.registry.imageHost,
    mirrorAddress: mirrorName(settings),
    ensureOrg,
    hostKey: await ensureHostKey(settings),
    hostOptions: settings.builder,
    mintToken: (org, scope, signal) => mirror.mintToken(org, scope, signal),
    sourceFault: (org, source, signal) => mirror.sourceFault(org, source, signal),
  };
}
