import path from "node:path";
import { parseDurationMs } from "../../config/duration.ts";
import { type BuildSecrets, sealBuildSecrets } from "../../config/build-secrets.ts";
import { readHostPublicKey } from "../../config/sealing/host-key.ts";
import type { Settings } from "../../config/settings.ts";
import { instancePaths } from "../../config/paths.ts";
import { startTracing } from "../../config/tracing/start-tracing.ts";
import type { DeployInput } from "../../workflows/types.ts";
import { shortDigest } from "../../oci/digest.ts";
import { tracing as traces } from "../../oci/tracing.ts";
import { workflowIds } from "../../workflows/ids.ts";
import type { ControlPlane } from "../control-plane/connect.ts";
import type { StartedDeploy } from "../control-plane/start-deploy.ts";
import { uploadContexts } from "../deploy/build-contexts.ts";
import { type BuildSecretOptions, readBuildSecrets } from "../deploy/build-secrets.ts";
import { fingerprintOf } from "../deploy/fingerprint.ts";
import { chooseKey } from "../deploy/idempotency-key.ts";
import { startPreparation } from "../deploy/preparation.ts";
import { packProject, uploadProject } from "../deploy/prepare-source.ts";
import { readProject, type ProjectOptions } from "../deploy/project.ts";
import { CliError } from "../errors.ts";
import { exitCodeOf } from "../exit-codes.ts";
import { requireSettings, type InstanceOptions } from "../instance.ts";
import { printJson, toStderr, toStdout, type OutputOptions } from "../output.ts";
import type { UploadedBytes } from "../render/result-json.ts";
import { sizeOf } from "../render/table.ts";
import { type Clone, cloneRepository } from "../source/clone.ts";
import { type GitAddress, parseGitAddress } from "../source/git-address.ts";
import { readCommit } from "../source/git.ts";

export type DeployOptions = InstanceOptions &
  ProjectOptions &
  BuildSecretOptions &
  OutputOptions & {
    readonly org?: string;
    readonly cache: boolean;
    readonly detach?: boolean;
    readonly idempotencyKey?: string;
    readonly waitFor: "deployed" | "replicated";
    readonly timeout?: string;
  };

/** Deploys a directory, or a git repository of which a clone is made. Answers the exit code. */
export async function deploy(source: string, options: DeployOptions): Promise<number> {
  const address = parseGitAddress(source);
  if (address === undefined) return await deployDirectory(source, options);
  await using clone = await fetchSource(address);
  return await deployDirectory(clone.directory, options);
}

async function fetchSource(address: GitAddress): Promise<Clone> {
  using preparation = startPreparation();
  return await cloneRepository(address, preparation.signal);
}

/** Packs and uploads the source, starts the run or attaches to it, and follows it. */
async function deployDirectory(directory: string, options: DeployOptions): Promise<number> {
  const say = (text: string): void => {
    if (options.quiet !== true && options.output !== "jsonl") toStderr(`${text}\n`);
  };
  const warn = (text: string): void => say(`Warning: ${text}`);
  const timeoutMs = readTimeout(options.timeout);
  const project = readProject(path.resolve(directory), options);
  const settings = requireSettings(options);
  const org = options.org ?? settings.defaultOrg;
  const { app } = project.config;
  const secrets = readBuildSecrets(options, process.env);
  const { key, fresh } = chooseKey(options.idempotencyKey, app, process.env, new Date());

  const workflowId = workflowIds.deploy(org, app, key);
  await using tracing = await startTracing("slipway-cli", settings);
  const root = {
    kind: "internal",
    name: "slipway deploy",
    fields: { "slipway.org": org, "slipway.app": app, "slipway.run": workflowId },
  } as const;
  const started = await traces.inSpan(root, startFromSource);
  await using controlPlane = started.controlPlane;
  if (started.how === "attached") say("--> Attached to the run that has this key");
  if (started.how === "finished") say("--> This key was deployed before");
  if (options.detach === true && started.how !== "finished") {
    const ui = controlPlane.uiOf(started.workflowId);
    if (options.output === "text") toStdout(`${started.workflowId}\n`);
    else printJson({ schema_version: 1, workflow_id: started.workflowId, app, status: "building", links: { ui } });
    return exitCodeOf({ kind: "done" });
  }
  const { followAndReport } = await import("../follow/follow-and-report.ts");
  const outcome = await followAndReport(settings, controlPlane, started.workflowId, {
    ...options,
    finishedBefore: started.how === "finished",
    upload: started.upload,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
  return exitCodeOf(outcome);

  /** Packs and uploads while the control plane is being connected; that one cannot be reached is the first thing to tell. */
  async function startFromSource(): Promise<StartedDeploy & { readonly controlPlane: ControlPlane; readonly upload: UploadedBytes }> {
    using preparation = startPreparation();
    const { signal } = preparation;
    const uploading = uploadSource(signal);
    uploading.catch(() => undefined);
    let controlPlane: ControlPlane | undefined;
    try {
      controlPlane = await connect();
      const { source, sentBytes, fileCount, commit, config } = await uploading;
      const sent = sentBytes === 0 ? "nothing to upload" : `${sizeOf(sentBytes)} of ${sizeOf(source.sizeBytes)} uploaded`;
      say(`--> Source ${shortDigest(source.digest)}: ${fileCount} files, ${sent}`);
      const input: DeployInput = {
        org,
        app,
        key,
        source,
        config,
        ...(commit === undefined ? {} : { commit }),
        noCache: !options.cache,
        ...(secrets.size === 0 ? {} : { sealedSecrets: await sealSecrets(settings, secrets, workflowId) }),
      };
      const { startDeploy } = await import("../control-plane/start-deploy.ts");
      signal.throwIfAborted();
      const upload = { sizeBytes: source.sizeBytes, sentBytes };
      return { controlPlane, upload, ...(await startDeploy(controlPlane, input, fingerprintOf(source.digest, config), fresh)) };
    } catch (error) {
      preparation.abandon(error);
      await uploading.catch(() => undefined);
      await controlPlane?.[Symbol.asyncDispose]();
      throw signal.reason;
    }
  }

  async function connect(): Promise<ControlPlane> {
    // the heaviest import there is: git, the disk and the registry are at work meanwhile
    const { connectControlPlane } = await import("../control-plane/connect.ts");
    const controlPlane = await connectControlPlane(settings, "; nothing was started", tracing.temporalPlugins);
    say(`==> Run ${workflowId}`);
    say(`    ${controlPlane.uiOf(workflowId)}`);
    say(`    re-attach: slipway watch ${key} -a ${app}`);
    for (const warning of project.warnings) say(`Warning: ${warning}`);
    return controlPlane;
  }

  async function uploadSource(signal: AbortSignal) {
    const reading = readCommit(project.directory, signal);
    reading.catch(() => undefined);
    const packed = await packProject(project, warn, signal);
    const uploaded = await uploadProject(settings, org, app, packed, signal);
    const contexts = await uploadContexts({ settings, org, project, warn }, signal);
    const build = { ...project.config.build, ...(Object.keys(contexts).length === 0 ? {} : { contexts }) };
    return { ...uploaded, fileCount: packed.fileCount, commit: await reading, config: { ...project.config, build } };
  }
}

async function sealSecrets(settings: Settings, secrets: BuildSecrets, workflowId: string): Promise<string> {
  try {
    return sealBuildSecrets(await readHostPublicKey(settings), secrets, workflowId);
  } catch (cause) {
    throw new CliError(`Cannot seal the build secrets: expected the host's key in "${instancePaths.hostPublicKey(settings)}"`, {
      outcome: { kind: "control plane unreachable" },
      tryCommand: "slipway up",
      cause,
    });
  }
}

/** @throws CliError for what is not a duration. */
export function readTimeout(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const timeoutMs = parseDurationMs(text);
  if (timeoutMs === undefined) throw new CliError(`Cannot read --timeout "${text}": expected a duration such as "90s" or "10m"`);
  return timeoutMs;
}
