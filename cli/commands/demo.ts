import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { up as startStack } from "../../stack/up.ts";
import { digestEncoded } from "../../oci/digest.ts";
import { workflowIds } from "../../workflows/ids.ts";
import type { AppState, RunView } from "../../workflows/types.ts";
import { queryApp } from "../control-plane/apps.ts";
import { connectControlPlane, type ControlPlane } from "../control-plane/connect.ts";
import { startDeploy } from "../control-plane/start-deploy.ts";
import { canonicalJson, fingerprintOf } from "../deploy/fingerprint.ts";
import { packProject, uploadProject } from "../deploy/prepare-source.ts";
import { readProject } from "../deploy/project.ts";
import { CliError } from "../errors.ts";
import { exitCodeOf } from "../exit-codes.ts";
import { followRun } from "../follow/follow-run.ts";
import { listenForInterrupts } from "../follow/interrupts.ts";
import { followRunLog } from "../follow/run-log.ts";
import { openRun } from "../follow/run-handle.ts";
import { dataDirOption, type InstanceOptions } from "../instance.ts";
import { printJson, printLines, toStderr, toStdout, type OutputFormat } from "../output.ts";
import { failureLines } from "../render/end-lines.ts";
import { createProgressRenderer } from "../render/progress-renderer.ts";
import { quietRenderer } from "../render/renderer.ts";
import { tableLines } from "../render/table.ts";
import { formatDurationMs } from "../../config/duration.ts";
import { ensureBaseImages } from "./image-bases.ts";

export type DemoOptions = InstanceOptions & { readonly output: OutputFormat; readonly quiet?: boolean };

type Step = { readonly name: string; readonly ms: number };

/** The example, beside `cli/` in the checkout and beside `dist/` in a package. */
function exampleDirectory(): string {
  const found = ["../../examples/static", "../../../examples/static"]
    .map((up) => fileURLToPath(new URL(up, import.meta.url)))
    .find(existsSync);
  if (found !== undefined) return found;
  throw new CliError("Cannot find the example app examples/static", { outcome: { kind: "unexpected" } });
}

/** Stack up, example deployed, its address printed. A second time, what answers is left alone. */
export async function demo(options: DemoOptions): Promise<number> {
  const say = (text: string): void => {
    if (options.quiet !== true) toStderr(`${text}\n`);
  };
  const steps: Step[] = [];
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const startedAtMs = performance.now();
    const result = await work();
    steps.push({ name, ms: Math.round(performance.now() - startedAtMs) });
    return result;
  };
  const project = readProject(exampleDirectory(), {});
  const { signal } = new AbortController();

  const progress = (line: string): void => say(`--> ${line}`);
  say("==> Bringing the stack up");
  const { settings } = await timed("up", () => startStack(dataDirOption(options), progress, signal));
  await timed("base images", () => ensureBaseImages(settings, ["busybox"], progress, signal));
  await using controlPlane = await connectControlPlane(settings);
  const { app } = project.config;
  const org = settings.defaultOrg;

  const packed = await packProject(project, say, signal);
  const { source } = await timed("upload", () => uploadProject(settings, org, app, packed, signal));
  const fingerprint = fingerprintOf(source.digest, project.config);
  const current = await answeringRelease(controlPlane, org, app, (state) => isSame(state, source.digest, project.config));
  if (current !== undefined) {
    say(`--> ${app} v${current.version} is deployed already and answers`);
    const run = workflowIds.deploy(org, app, current.key);
    return finish({ url: current.url, run, ui: controlPlane.uiOf(run), steps }, options);
  }

  const base = `demo-${digestEncoded(fingerprint.sourceDigest).slice(0, 10)}${digestEncoded(fingerprint.configDigest).slice(0, 6)}`;
  const input = { org, app, source, config: project.config, noCache: false };
  say(`==> Deploying ${app}`);
  let started = await startDeploy(controlPlane, { ...input, key: base }, fingerprint, false);
  // deployed once and not answering now: a new run, as the old one cannot run twice
  if (started.how === "finished") started = await startDeploy(controlPlane, { ...input, key: `${base}-${Date.now()}` }, fingerprint, true);
  const ui = controlPlane.uiOf(started.workflowId);
  say(`    ${ui}`);
  using interrupts = listenForInterrupts();
  const end = await followRun({
    run: openRun(controlPlane, started.workflowId),
    renderer: rendererFor(options),
    buildLog: (stop) => followRunLog(settings, controlPlane, started.workflowId, stop),
    interrupts,
  });
  if (end.kind !== "ended") {
    say(`Detached: the run goes on. Re-attach: slipway watch -a ${app}`);
    return exitCodeOf({ kind: "interrupted" });
  }
  if (end.outcome.kind === "failed") {
    const { view, ...failure } = end.outcome;
    const error = view?.error;
    printLines(toStderr, failureLines({ ...failure, ui, workflowId: started.workflowId, ...(error === undefined ? {} : { error }) }));
    return exitCodeOf(end.outcome);
  }
  steps.push(...stepsOf(end.outcome.result));
  const { url } = end.outcome.result;
  if (url === undefined) throw new CliError(`Cannot tell the address of "${app}": the run named none`, { outcome: { kind: "unexpected" } });
  await timed("answer", () => untilAnswers(url));
  return finish({ url, run: started.workflowId, ui, steps }, options);
}

function finish(result: { url: string; ui: string; run: string; steps: readonly Step[] }, options: DemoOptions): number {
  const { url, ui, run, steps } = result;
  if (options.output !== "text") {
    if (options.output === "json") printJson({ url, ui, run, steps });
    else toStdout(`${JSON.stringify({ type: "result", url, ui, run, steps })}\n`);
    return 0;
  }
  if (options.quiet !== true)
    printLines(toStderr, [
      "",
      ...tableLines(
        ["STEP", "TIME"],
        steps.map(({ name, ms }) => [name, formatDurationMs(ms)]),
      ),
      "",
    ]);
  printLines(toStdout, [`url: ${url}`, `ui:  ${ui}`]);
  return 0;
}

const stepsOf = (view: RunView): Step[] =>
  view.steps.flatMap((step) => (step.durationMs === undefined ? [] : [{ name: step.name, ms: step.durationMs }]));

function isSame(state: AppState, sourceDigest: string, config: unknown): boolean {
  const release = state.current?.release;
  return release?.source.digest === sourceDigest && canonicalJson(release.config) === canonicalJson(config);
}

/** The current release, when it is the wanted one and its address answers. */
async function answeringRelease(controlPlane: ControlPlane, org: string, app: string, isWanted: (state: AppState) => boolean) {
  const state = await queryApp(controlPlane, org, app);
  const current = state?.current;
  if (state === undefined || current?.url === undefined || !isWanted(state)) return undefined;
  return (await answers(current.url)) ? { version: current.release.version, key: current.release.key, url: current.url } : undefined;
}

async function answers(url: string): Promise<boolean> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(2000) });
    await answer.body?.cancel();
    return answer.ok;
  } catch {
    return false;
  }
}

const answerAttempts = 50;

async function untilAnswers(url: string): Promise<void> {
  for (let attempt = 0; attempt < answerAttempts; attempt++) {
    if (await answers(url)) return;
    await sleep(100);
  }
  throw new CliError(`The example is deployed, but ${url} does not answer`, {
    outcome: { kind: "unexpected" },
    tryCommand: "slipway doctor",
  });
}

function rendererFor(options: DemoOptions) {
  if (options.quiet === true || options.output === "jsonl") return quietRenderer;
  return createProgressRenderer({ progress: "auto" });
}
