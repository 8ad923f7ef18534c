import { randomBytes } from "node:crypto";
import { ClientError, Metadata } from "nice-grpc";
import { type Digest, parseDigest } from "../../oci/digest.ts";
import { tracing } from "../../oci/tracing.ts";
import { type Buildkit, openBuildkit } from "./client.ts";
import { BuilderLost, solveError } from "./errors.ts";
import { type BuildPlan, exporterAttrs, frontendAttrs, frontendInputs } from "./frontend-attrs.ts";
import { requirePlatform } from "./platforms.ts";
import { type BuildEvent, type BuildProgress, applyStatus, countSteps, emptyProgress } from "./progress.ts";
import { type BuildSession, type SessionOffer, openSession } from "./session.ts";
import { dockerfileLine } from "./status-details.ts";

export type SolveInput = BuildPlan & {
  /** `host:port` of buildkitd */
  readonly address: string;
} & Partial<SessionOffer>;

export type SolveOptions = {
  readonly signal: AbortSignal;
  /** every progress event, in order; it should not block */
  readonly onEvent?: (event: BuildEvent) => void;
};

export type SolveOutput = {
  /** the exporter's word; the mirror's is the one that counts */
  readonly exporterDigest: Digest;
  readonly steps: number;
  readonly cachedSteps: number;
};

/** buildkitd checks the session every 5 s: this long without a sign it is frozen or gone. */
const silenceLimitMs = 30_000;

/**
 * Builds and pushes on buildkitd, for as long as it takes; aborting `signal` cancels the build at once.
 * @throws BuildFailed, BuildRefused, BuilderLost, PushFailed, SourceUnavailable, or the signal's reason.
 */
export async function solve(input: SolveInput, { signal, onEvent }: SolveOptions): Promise<SolveOutput> {
  signal.throwIfAborted();
  using buildkit = openBuildkit(input.address);
  using session = openSession(buildkit, { secrets: input.secrets ?? {}, registries: input.registries ?? {} });
  using silence = watchSilence(session);
  const stop = AbortSignal.any([signal, silence.signal]);
  if (input.platform !== undefined) await requirePlatform(buildkit, input.platform, stop);
  const ref = randomBytes(16).toString("hex");
  const following = followStatus(buildkit, ref, stop, onEvent);
  // awaited below, after the solve; until then it may already have failed
  following.catch(() => undefined);

  let trailer = new Metadata();
  try {
    const answer = await buildkit.control.solve(
      {
        Ref: ref,
        Session: session.id,
        Frontend: "dockerfile.v0",
        FrontendAttrs: frontendAttrs(input),
        FrontendInputs: frontendInputs(input),
        Entitlements: [...(input.entitlements ?? [])],
        Exporters: [{ Type: "image", Attrs: exporterAttrs(input) }],
      },
      // BuildKit goes on with the trace, in what it asks the mirror for
      { signal: stop, metadata: new Metadata(tracing.headers()), onTrailer: (received) => (trailer = received) },
    );
    const progress = await following;
    return { exporterDigest: parseDigest(answer.ExporterResponse["containerimage.digest"] ?? ""), ...countSteps(progress) };
  } catch (error) {
    signal.throwIfAborted();
    if (silence.signal.aborted) throw silence.signal.reason;
    if (!(error instanceof ClientError)) throw error;
    const details = trailer.get("grpc-status-details-bin");
    const line = details === undefined ? undefined : dockerfileLine(details);
    throw solveError({ code: error.code, message: error.details, line, progress: await following });
  }
}

/** Follows the build until buildkitd ends the stream; whatever breaks the stream is told by the Solve call as well. */
async function followStatus(
  buildkit: Buildkit,
  ref: string,
  signal: AbortSignal,
  onEvent: SolveOptions["onEvent"],
): Promise<BuildProgress> {
  let progress = emptyProgress;
  try {
    for await (const message of buildkit.control.status({ Ref: ref }, { signal })) {
      const applied = applyStatus(progress, message);
      progress = applied.progress;
      for (const event of applied.events) onEvent?.(event);
    }
  } catch (error) {
    if (!signal.aborted && !(error instanceof ClientError)) throw error;
  }
  return progress;
}

/** Aborts when buildkitd has been silent for too long: a frozen builder keeps its connection open. */
function watchSilence(session: BuildSession): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const timer = setInterval(() => {
    const silentMs = Date.now() - session.lastHeardAtMs();
    if (silentMs > silenceLimitMs)
      controller.abort(new BuilderLost(`Lost the builder: it said nothing for ${Math.round(silentMs / 1000)} s`));
  }, 1000);
  return { signal: controller.signal, [Symbol.dispose]: () => clearInterval(timer) };
}
