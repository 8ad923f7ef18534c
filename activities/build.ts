import type { KeyObject } from "node:crypto";
import { activityInfo, cancellationDetails } from "@temporalio/activity";
import { BuildFailed, BuildRefused, BuilderLost, PushFailed, SourceUnavailable } from "../builder/buildkit/errors.ts";
import type { BuildEvent } from "../builder/buildkit/progress.ts";
import { solve } from "../builder/buildkit/solve.ts";
import type { Builders } from "../builder/builders.ts";
import type { BuildLogs } from "../builder/build-log.ts";
import { openBuildSecrets } from "../config/build-secrets.ts";
import { runTag } from "../mirror/images/run-tag.ts";
import { parseRepository } from "../oci/repository.ts";
import type { SourceRef } from "../workflows/types.ts";
import { type MintToken, buildCredentials } from "./build-credentials.ts";
import { namedContexts, sourcesOf } from "./build-contexts.ts";
import { type HostBuildOptions, buildOptions } from "./build-options.ts";
import { activityFailure } from "./failures.ts";
import { withHeartbeat } from "./heartbeat.ts";
import { type AskSourceFault, contextUrl, sourceFailure } from "./source-context.ts";
import type { BuildActivities, BuildInput, BuildOutput } from "./types.ts";

export type BuildDeps = {
  readonly builders: Builders;
  readonly buildLogs: BuildLogs;
  /** host part of image names; inside the org's network it is the mirror */
  readonly imageHost: string;
  /** `host:port` of the mirror as the builder sees it */
  readonly mirrorAddress: string;
  /** The org's network is up and the mirror listens in it. */
  readonly ensureOrg: (org: string, signal: AbortSignal) => Promise<void>;
  readonly mintToken: MintToken;
  readonly sourceFault: AskSourceFault;
  /** opens what clients sealed for this host */
  readonly hostKey: KeyObject;
  readonly hostOptions?: HostBuildOptions;
};

export function createBuildActivities(deps: BuildDeps): BuildActivities {
  const { builders, buildLogs, imageHost, mirrorAddress, ensureOrg, mintToken, sourceFault, hostKey, hostOptions } = deps;
  return {
    wakeBuilder: ({ org }) =>
      withHeartbeat(async (signal, report) => {
        try {
          await ensureOrg(org, signal);
          return await builders.wake(org, { signal, onPhase: (phase) => report({ phase }) });
        } catch (error) {
          signal.throwIfAborted();
          throw activityFailure("BuilderUnavailable", `Cannot wake the builder of "${org}": ${messageOf(error)}`, [], error);
        }
      }),

    build: (input) =>
      withHeartbeat(async (signal, report) => {
        const { attempt } = activityInfo();
        await using log = await buildLogs.open(input);
        log.write({ type: "attempt", attempt, atMs: Date.now() });
        try {
          const secrets = openSecrets(hostKey, input);
          await ensureOrg(input.org, signal);
          await using builder = await builders.acquire(input.org, { signal, onPhase: (phase) => report({ phase }) });
          const urlOf = (source: SourceRef) => contextUrl(mirrorAddress, source);
          const image = nameImage(input, attempt);
          const credentials = await buildCredentials(mintToken, input, { imageHost, mirrorAddress }, signal);
          const solved = await solve(
            {
              registries: credentials.registries,
              // its own ones last: nobody's secret takes the place of the source's token
              secrets: { ...secrets, ...credentials.secrets },
              address: builder.address,
              contextUrl: urlOf(input.source),
              contexts: namedContexts(input.build, urlOf),
              ...buildOptions(input, hostOptions),
              imageName: image.imageName,
            },
            { signal, onEvent: (event) => (log.write(event), reportStep(event, report)) },
          );
          log.write({ type: "end" });
          return { ...image, ...solved } satisfies BuildOutput;
        } catch (failure) {
          const error = await sourceFailure(failure, { org: input.org, sources: sourcesOf(input) }, sourceFault, signal);
          // any other end may be followed by a retry, which goes on in the same log
          if (error instanceof BuildFailed || error instanceof BuildRefused || cancellationDetails()?.cancelRequested === true)
            log.write({ type: "end" });
          else log.write({ type: "broken off", attempt, reason: reasonOf(signal, error), atMs: Date.now() });
          signal.throwIfAborted();
          throw buildFailure(error);
        }
      }),
  };

  function nameImage({ org, app, runId }: BuildInput, attempt: number): Pick<BuildOutput, "repository" | "tag" | "imageName"> {
    const repository = parseRepository(`${org}/${app}`);
    const tag = runTag(runId, attempt);
    return { repository, tag, imageName: `${imageHost}/${repository}:${tag}` };
  }
}

/** Another try finds the same key: who deploys has to seal them anew. */
function openSecrets(hostKey: KeyObject, { sealedSecrets, workflowId }: BuildInput): Readonly<Record<string, Uint8Array>> {
  if (sealedSecrets === undefined) return {};
  try {
    return Object.fromEntries(openBuildSecrets(hostKey, sealedSecrets, workflowId));
  } catch {
    throw new BuildFailed("Cannot open the build secrets: expected them sealed for this host's key and this run; deploy again", {
      lastLines: [],
    });
  }
}

function reasonOf(signal: AbortSignal, error: unknown): string {
  if (!signal.aborted) return messageOf(error);
  return cancellationDetails()?.workerShutdown === true ? "the host's worker is restarted" : messageOf(signal.reason);
}

function reportStep(event: BuildEvent, report: (details: unknown) => void): void {
  if (event.type === "started" || event.type === "cached") report({ step: event.step, name: event.name.slice(0, 200) });
}

function buildFailure(error: unknown): Error {
  if (error instanceof BuildFailed) {
    const where = error.step === undefined ? "" : `${error.step}: `;
    return activityFailure("BuildFailed", `${where}${error.message}`, error.lastLines, error);
  }
  if (error instanceof BuildRefused) return activityFailure("BuildRefused", error.message, [], error);
  if (error instanceof PushFailed) return activityFailure("PushFailed", error.message, [], error);
  if (error instanceof SourceUnavailable) return activityFailure("SourceUnavailable", error.message, [], error);
  if (error instanceof BuilderLost) return activityFailure("BuilderLost", error.message, [], error);
  return activityFailure("BuilderUnavailable", `Cannot build: ${messageOf(error)}`, [], error);
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
