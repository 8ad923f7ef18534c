import path from "node:path";
import { parseDurationMs } from "../../config/duration.ts";
import type { DeployInput } from "../../workflows/types.ts";
import { shortDigest } from "../../oci/digest.ts";
import { workflowIds } from "../../workflows/ids.ts";
import { connectControlPlane } from "../control-plane/connect.ts";
import { startDeploy, type StartedDeploy } from "../control-plane/start-deploy.ts";
import { fingerprintOf } from "../deploy/fingerprint.ts";
import { chooseKey } from "../deploy/idempotency-key.ts";
import { startPreparation } from "../deploy/preparation.ts";
import { packProject, uploadProject } from "../deploy/prepare-source.ts";
import { readProject, type ProjectOptions } from "../deploy/project.ts";
import { CliError } from "../errors.ts";
import { exitCodeOf } from "../exit-codes.ts";
import { followAndReport } from "../follow/follow-and-report.ts";
import { requireSettings, type InstanceOptions } from "../instance.ts";
import { printJson, toStderr, toStdout, type OutputOptions } from "../output.ts";
import { sizeOf } from "../render/table.ts";
import { readCommit } from "../source/git.ts";

export type DeployOptions = InstanceOptions &
  ProjectOptions &
  OutputOptions & {
    readonly org?: string;
    readonly cache: boolean;
    readonly detach?: boolean;
    readonly idempotencyKey?: string;
    readonly waitFor: "deployed" | "replicated";
    readonly timeout?: string;
  };

/** Packs and uploads the source, starts the run or attaches to it, and follows it. Answers the exit code. */
export async function deploy(directory: string, options: DeployOptions): Promise<number> {
  const say = (text: string): void => {
    if (options.quiet !== true && options.output !== "jsonl") toStderr(`${text}\n`);
  };
  const timeoutMs = readTimeout(options.timeout);
  const project = readProject(path.resolve(directory), options);
  const settings = requireSettings(options);
  const org = options.org ?? settings.defaultOrg;
  const { app } = project.config;
  const { key, fresh } = chooseKey(options.idempotencyKey, app, process.env, new Date());

  await using controlPlane = await connectControlPlane(settings);
  const workflowId = workflowIds.deploy(org, app, key);
  say(`==> Run ${workflowId}`);
  say(`    ${controlPlane.uiOf(workflowId)}`);
  say(`    re-attach: slipway watch ${key} -a ${app}`);
  for (const warning of project.warnings) say(`Warning: ${warning}`);

  const started = await startFromSource();
  if (started.how === "attached") say("--> Attached to the run that has this key");
  if (started.how === "finished") say("--> This key was deployed before");
  if (options.detach === true && started.how !== "finished") {
    const ui = controlPlane.uiOf(started.workflowId);
    if (options.output === "text") toStdout(`${started.workflowId}\n`);
    else printJson({ schema_version: 1, workflow_id: started.workflowId, app, status: "building", links: { ui } });
    return exitCodeOf({ kind: "done" });
  }
  const outcome = await followAndReport(settings, controlPlane, started.workflowId, {
    ...options,
    finishedBefore: started.how === "finished",
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
  return exitCodeOf(outcome);

  async function startFromSource(): Promise<StartedDeploy> {
    using preparation = startPreparation();
    const { signal } = preparation;
    try {
      await using packed = await packProject(project, (text) => say(`Warning: ${text}`), signal);
      const [{ source, sentBytes }, commit] = await Promise.all([
        uploadProject(settings.registry.url, org, app, packed, signal),
        readCommit(project.directory, signal),
      ]);
      const sent = sentBytes === 0 ? "nothing to upload" : `${sizeOf(sentBytes)} uploaded`;
      say(`--> Source ${shortDigest(source.digest)}: ${packed.fileCount} files, ${sent}`);
      const input: DeployInput = {
        org,
        app,
        key,
        source,
        config: project.config,
        ...(commit === undefined ? {} : { commit }),
        noCache: !options.cache,
      };
      return await startDeploy(controlPlane, input, fingerprintOf(source.digest, project.config), fresh);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  }
}

/** @throws CliError for what is not a duration. */
export function readTimeout(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const timeoutMs = parseDurationMs(text);
  if (timeoutMs === undefined) throw new CliError(`Cannot read --timeout "${text}": expected a duration such as "90s" or "10m"`);
  return timeoutMs;
}
