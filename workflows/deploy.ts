import {
  ApplicationFailure,
  CancellationScope,
  ParentClosePolicy,
  WorkflowIdReusePolicy,
  isCancellation,
  startChild,
  workflowInfo,
} from "@temporalio/workflow";
import { ApplicationFailureCategory, WorkflowExecutionAlreadyStartedError } from "@temporalio/common";
import { type HostActivities, control, onHost } from "./activities.ts";
import { workflowIds } from "./ids.ts";
import { replicateImage } from "./replicate-image.ts";
import { servingGroup, startBeside } from "./roll-out.ts";
import { type RunTracker, trackRun } from "./run-tracker.ts";
import { type GrantedTurn, SupersededError, openTurn } from "./turn.ts";
import type { DeployInput, DeployResult, MachineView, Release, ReplicateImageInput } from "./types.ts";

/**
 * One run: from an uploaded source to machines that serve it. Ends in exactly one way: completed (live), failed with a typed
 * DeployErrorCode, or cancelled; in each but the first the release before it serves as before.
 */
export async function deploy(input: DeployInput): Promise<DeployResult> {
  const run = trackRun(input);
  const turn = openTurn(input.org, input.app);
  try {
    const { host, release } = await control.admitRun({ org: input.org, app: input.app, key: input.key });
    if (release !== undefined) return run.foundEarlier(release);
    const here = onHost(host);
    run.placed(host);

    await run.step("wake", () => here.wakeBuilder({ org: input.org }, `wake ${input.org}'s builder`));
    const built = await run.step("build", () => build(here, input));

    // the queue is asked while the image is read back: neither waits for the other, and the turn is used only when both are there
    run.queued();
    const { runId, workflowId } = workflowInfo();
    const request = { workflowId, runId, key: input.key, requestedAtMs: run.view().startedAtMs, host };
    const [image, granted] = await Promise.all([
      run.step("verify", () => verify(here, input, built)),
      run.step("queue", () => turn.take(request)),
    ]);
    const reference = { name: built.imageName, digest: image.digest };
    run.verified({ ...reference, sizeBytes: image.sizeBytes });
    const replication = { org: input.org, host, repository: built.repository, digest: image.digest, tag: built.tag };
    const replicating = startReplication(replication);
    // awaited below, after the roll-out has been started
    replicating.catch(() => undefined);

    run.rollingOut(granted);
    const machines = await run.step("rollout", () => startBeside(here, host, input, reference, granted.version));
    run.replicating(await replicating);

    // from here the new release has proved itself: going on is safer than going back
    return await CancellationScope.nonCancellable(async () => {
      const accepted = releaseOf(input, run, granted, reference);
      const [url] = await run.step("record", () =>
        Promise.all([switchOver(here, input, machines), control.recordRelease({ release: accepted }, `record v${accepted.version}`)]),
      );
      await turn.giveBack({ outcome: "live", release: accepted, machines, ...(url === undefined ? {} : { url }) });
      return run.live(machines, url);
    });
  } catch (failure) {
    return await endWithout(run, failure, (outcome) => turn.giveBack({ outcome }));
  }
}

async function build(here: HostActivities, input: DeployInput) {
  const { workflowId, runId } = workflowInfo();
  const { org, app, source, noCache } = input;
  const labels = input.commit === undefined ? {} : { "org.opencontainers.image.revision": input.commit.sha };
  const secrets = input.sealedSecrets === undefined ? {} : { sealedSecrets: input.sealedSecrets };
  return here.build({ org, app, workflowId, runId, source, build: input.config.build, noCache, labels, ...secrets }, `build ${org}/${app}`);
}

async function verify(here: HostActivities, input: DeployInput, built: Awaited<ReturnType<HostActivities["build"]>>) {
  const { repository, tag, exporterDigest } = built;
  return here.verifyImage({ org: input.org, repository, tag, exporterDigest }, `verify ${built.imageName} in containerd`);
}

/** Detached: it outlives this run, and a digest that is on its way, or durable already, is not sent twice. */
async function startReplication(input: ReplicateImageInput): Promise<string> {
  const workflowId = workflowIds.replicateImage(input.repository, input.digest);
  try {
    await startChild(replicateImage, {
      args: [input],
      workflowId,
      workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
      parentClosePolicy: ParentClosePolicy.ABANDON,
      staticSummary: `replicate ${input.repository}`,
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
  }
  return workflowId;
}

async function switchOver(here: HostActivities, input: DeployInput, machines: readonly MachineView[]): Promise<string | undefined> {
  const { org, app, config } = input;
  const machineIds = machines.map(({ id }) => id);
  if (config.http === undefined) {
    const { url } = await here.switchRoute({ org, app, machineIds, addresses: [] }, `keep ${machines.length} machine(s) of ${app} running`);
    return url;
  }
  const serving = machines.filter((machine) => machine.group === servingGroup(config.groups));
  const addresses = serving.flatMap((machine) => machine.address ?? []);
  const { url } = await here.switchRoute(
    { org, app, machineIds, port: config.http.internalPort, addresses },
    `send ${app}'s requests to ${serving.length} machine(s)`,
  );
  return url;
}

function releaseOf(input: DeployInput, run: RunTracker, granted: GrantedTurn, image: Release["image"]): Release {
  const { org, app, key, source, config, commit } = input;
  const { runId, startedAtMs } = run.view();
  return {
    org,
    app,
    version: granted.version,
    key,
    runId,
    image,
    source,
    config,
    createdAtMs: startedAtMs,
    ...(commit === undefined ? {} : { commit }),
  };
}

async function endWithout(run: RunTracker, failure: unknown, giveBack: (outcome: "failed" | "cancelled") => Promise<void>): Promise<never> {
  const cancelled = isCancellation(failure);
  await giveBack(cancelled ? "cancelled" : "failed");
  if (failure instanceof SupersededError) {
    const view = run.superseded(failure.message);
    throw ApplicationFailure.create({
      type: "SUPERSEDED",
      message: failure.message,
      nonRetryable: true,
      details: [view],
      category: ApplicationFailureCategory.BENIGN,
    });
  }
  const view = cancelled ? run.cancelled(failure) : run.failed(failure);
  if (cancelled) throw failure;
  const { code, message } = view.error!;
  throw ApplicationFailure.create({
    type: code,
    message,
    nonRetryable: true,
    details: [view],
    ...(failure instanceof Error ? { cause: failure } : {}),
  });
}
