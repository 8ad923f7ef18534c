import { ClientError } from "nice-grpc";
import { hostArchitecture } from "../../containerd/image.ts";
import type { Buildkit } from "./client.ts";
import { BuildRefused, BuilderLost } from "./errors.ts";

/**
 * Refuses a platform that the builder's workers or the machines of this host do not run, before anything is fetched for it.
 * @throws BuildRefused, BuilderLost, or the signal's reason
 */
export async function requirePlatform(buildkit: Pick<Buildkit, "control">, wanted: string, signal: AbortSignal): Promise<void> {
  const refusal = platformRefusal(wanted, await workerPlatforms(buildkit, signal), `linux/${hostArchitecture}`);
  if (refusal !== undefined) throw new BuildRefused(refusal);
}

/** Why not, and what could be instead; undefined when it is possible. `ofMachines` is `os/architecture`. */
export function platformRefusal(wanted: string, ofBuilder: readonly string[], ofMachines: string): string | undefined {
  const runs = (platform: string): boolean => platform === ofMachines || platform.startsWith(`${ofMachines}/`);
  const possible = ofBuilder.filter(runs);
  const asked = normalPlatform(wanted);
  if (possible.includes(asked)) return undefined;
  const why = runs(asked) ? "the builder of this host cannot run it" : "the machines of this host cannot run it";
  return `Cannot build for platform "${wanted}": ${why}, expected ${possible.length > 1 ? "one of " : ""}${possible.join(", ")}`;
}

async function workerPlatforms({ control }: Pick<Buildkit, "control">, signal: AbortSignal): Promise<readonly string[]> {
  try {
    const { record } = await control.listWorkers({}, { signal });
    const all = record.flatMap(({ platforms }) => platforms);
    return [...new Set(all.map(({ OS, Architecture, Variant }) => normalPlatform([OS, Architecture, Variant].filter(Boolean).join("/"))))];
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ClientError) throw new BuilderLost(`Lost the builder: it does not tell its platforms: ${error.details}`);
    throw error;
  }
}

/** As containerd's platforms.Normalize does: names of kernels, and the variant that is meant without one. */
function normalPlatform(platform: string): string {
  const [os = "", named = "", variant = ""] = platform.split("/");
  const architecture = { x86_64: "amd64", aarch64: "arm64" }[named] ?? named;
  const isDefault = (architecture === "amd64" && variant === "v1") || (architecture === "arm64" && variant === "v8");
  return [os, architecture, ...(variant === "" || isDefault ? [] : [variant])].join("/");
}
