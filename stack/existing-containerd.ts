import { Metadata } from "nice-grpc";
import { orgNamespace } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import { type Containerd, isAlreadyExists, openContainerd } from "../containerd/client.ts";
import { configFileOf } from "../containerd/config-file.ts";
import { SharedContentError, requireIsolatedContent } from "../containerd/policy.ts";
import { removeNamespace } from "../containerd/remove-namespace.ts";
import { networksOf, readNetworkRegistry } from "../machines/network/network-registry.ts";
import { leastContainerdVersion } from "./containerd-version.ts";
import { compareVersions } from "./doctor/check.ts";
import { StackError } from "./stack-error.ts";

const answerTimeoutMs = 10_000;
const purgeTimeoutMs = 120_000;

/** An empty namespace (an org's has a suffix) whose label says which instance has the containerd: orgs of two would be one. */
const claimNamespace = "slipway";
const claimLabel = "slipway.instance";

/**
 * Makes sure that a containerd which the operator named can carry this instance, before anything is started. Our own needs no look.
 * @throws StackError saying which containerd, what was found, what was expected and what to do
 */
export async function requireUsableContainerd(settings: Settings, signal: AbortSignal): Promise<void> {
  if (settings.containerd.managed) return;
  await using containerd = openContainerd(settings.containerd.socket);
  await requireVersion(containerd, signal);
  await requireIsolated(containerd, signal);
  await claim(containerd, settings.instance, signal);
}

/** Removes what this instance keeps in a containerd that the operator named: the namespaces of its orgs, and the claim. */
export async function leaveExistingContainerd(settings: Settings, signal: AbortSignal): Promise<void> {
  if (settings.containerd.managed) return;
  const { socket, snapshotter } = settings.containerd;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(purgeTimeoutMs)]);
  await using containerd = openContainerd(socket);
  if ((await holderOf(containerd, limit)) !== settings.instance) return;
  const orgs = networksOf(settings, await readNetworkRegistry(settings)).map(({ org }) => org);
  for (const org of orgs) await removeNamespace(containerd, orgNamespace(org), snapshotter, limit);
  await removeNamespace(containerd, claimNamespace, snapshotter, limit);
}

async function requireVersion(containerd: Containerd, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)]);
  const { version } = await containerd.version.version({}, { signal: limit }).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new StackError(
      `Cannot use containerd at "${containerd.socket}": it does not answer. Start it, or name the socket of one that runs: ` +
        `slipway up --containerd SOCKET`,
      { cause },
    );
  });
  if (isNewEnough(version)) return;
  throw new StackError(
    `Cannot use containerd at "${containerd.socket}": found version ${version}, expected ${leastContainerdVersion} or newer. ` +
      `Update it, or leave --containerd away and let Slipway run its own`,
  );
}

/** A version that is no number (a build of one's own) passes. */
export function isNewEnough(version: string): boolean {
  return !/^v?\d+\.\d+/.test(version) || compareVersions(version.replace(/[-~+].*$/, ""), leastContainerdVersion) >= 0;
}

async function requireIsolated(containerd: Containerd, signal: AbortSignal): Promise<void> {
  try {
    await requireIsolatedContent(containerd, AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)]));
  } catch (cause) {
    if (!(cause instanceof SharedContentError)) throw cause;
    throw new StackError(
      [
        `Cannot use containerd at "${containerd.socket}": found content_sharing_policy "shared", expected "isolated".`,
        "Every org could read every other's images. Put this into its configuration and start it again:",
        `  file: ${await configFileOf(containerd, signal)}`,
        '  [plugins."io.containerd.metadata.v1.bolt"]',
        '    content_sharing_policy = "isolated"',
        "Or leave --containerd away and let Slipway run its own",
      ].join("\n"),
      { cause },
    );
  }
}

async function claim(containerd: Containerd, instance: string, signal: AbortSignal): Promise<void> {
  const metadata = Metadata({ "containerd-namespace": claimNamespace });
  const namespace = { name: claimNamespace, labels: { [claimLabel]: instance } };
  await containerd.namespaces.create({ namespace }, { signal, metadata }).catch((error: unknown) => {
    if (!isAlreadyExists(error)) throw error;
  });
  const holder = await holderOf(containerd, signal);
  if (holder === instance) return;
  throw new StackError(
    `Cannot use containerd at "${containerd.socket}": Slipway's instance ${holder ?? "of unknown name"} has it, expected ${instance} or none. ` +
      `Take that one down with: slipway down --purge; if it is gone: ctr --address ${containerd.socket} namespaces remove ${claimNamespace}`,
  );
}

async function holderOf(containerd: Containerd, signal: AbortSignal): Promise<string | undefined> {
  const { namespaces } = await containerd.namespaces.list({}, { signal });
  return namespaces.find(({ name }) => name === claimNamespace)?.labels[claimLabel];
}
