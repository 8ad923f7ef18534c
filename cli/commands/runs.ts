import { spawn } from "node:child_process";
import type { WorkflowExecutionInfo } from "@temporalio/client";
import { listApps } from "../control-plane/apps.ts";
import { connectControlPlane, type ControlPlane } from "../control-plane/connect.ts";
import { appOf, findRun, keyOf, listRuns, type RunFilter } from "../control-plane/find-run.ts";
import { queryReplication } from "../control-plane/replication.ts";
import { CliError } from "../errors.ts";
import { followBuild } from "../follow/follow-build.ts";
import { openBuildLog } from "../follow/log-client.ts";
import { nameRun } from "../follow/run-log.ts";
import { openRun } from "../follow/run-handle.ts";
import { requireSettings, type InstanceOptions } from "../instance.ts";
import { printJson, printLines, printList, toStdout, type OutputFormat } from "../output.ts";
import { buildEntryLines } from "../render/build-lines.ts";
import { failureLines, summaryLines } from "../render/end-lines.ts";
import { resultJson, viewJson } from "../render/result-json.ts";
import { ageOf, tableLines } from "../render/table.ts";
import { appFilter, type AppOptions } from "./app-filter.ts";

export type RunsOptions = InstanceOptions & AppOptions & { readonly output: OutputFormat };

export type RunRow = {
  readonly workflow_id: string;
  readonly app: string;
  readonly key: string;
  readonly status: string;
  readonly version?: number;
  readonly commit?: { readonly sha: string; readonly dirty: boolean };
  readonly started_at: string;
};

/** Runs of an app, or of all, newest first. */
export async function runsList(options: RunsOptions & { readonly limit: string }): Promise<number> {
  const limit = Number(options.limit);
  if (!Number.isInteger(limit) || limit < 1) throw new CliError(`Cannot read --limit "${options.limit}": expected a number above 0`);
  const settings = requireSettings(options);
  const filter = appFilter(settings, options);
  await using controlPlane = await connectControlPlane(settings);
  const versions = await versionsOf(controlPlane, filter);
  const rows: RunRow[] = [];
  for await (const info of listRuns(controlPlane, filter)) {
    rows.push(runRow(info, versions.get(info.workflowId)));
    if (rows.length >= limit) break;
  }
  printList(options.output, { name: "runs", items: rows, json: (row) => row, text: (all) => runLines(all, Date.now()) });
  return 0;
}

export function runLines(rows: readonly RunRow[], nowMs: number): string[] {
  return tableLines(
    ["RUN", "APP", "STATUS", "VERSION", "COMMIT", "AGE"],
    rows.map((row) => [
      row.key,
      row.app,
      row.status,
      row.version === undefined ? "" : `v${row.version}`,
      row.commit === undefined ? "" : `${row.commit.sha.slice(0, 10)}${row.commit.dirty ? "+" : ""}`,
      ageOf(Date.parse(row.started_at), nowMs),
    ]),
  );
}

/** The versions that runs got, as the apps' histories have them; nothing where an app does not answer. */
async function versionsOf(controlPlane: ControlPlane, filter: RunFilter): Promise<Map<string, number>> {
  const apps = await listApps(controlPlane, filter.org, filter.app).catch(() => []);
  return new Map(apps.flatMap(({ state }) => state.history.map((entry) => [entry.workflowId, entry.version] as const)));
}

function runRow(info: WorkflowExecutionInfo, version: number | undefined): RunRow {
  const commit = info.memo?.commit as RunRow["commit"];
  return {
    workflow_id: info.workflowId,
    app: appOf(info.workflowId),
    key: keyOf(info.workflowId),
    status: info.status.name.toLowerCase().replace("canceled", "cancelled"),
    ...(version === undefined ? {} : { version }),
    ...(commit === undefined ? {} : { commit }),
    started_at: info.startTime.toISOString(),
  };
}

/** A run as it stands, or as it ended. */
export async function runsShow(run: string | undefined, options: RunsOptions): Promise<number> {
  const settings = requireSettings(options);
  await using controlPlane = await connectControlPlane(settings);
  const workflowId = await findRun(controlPlane, appFilter(settings, options), run);
  const ui = controlPlane.uiOf(workflowId);
  const handle = openRun(controlPlane, workflowId);
  const signal = new AbortController().signal;
  const closed = (await controlPlane.client.workflow.getHandle(workflowId).describe()).status.name !== "RUNNING";
  const outcome = closed ? await handle.outcome(signal, () => undefined) : undefined;
  const view = outcome === undefined ? await handle.view(signal) : outcome.kind === "deployed" ? outcome.result : outcome.view;
  const replication =
    view?.replicationWorkflowId === undefined ? undefined : await queryReplication(controlPlane, view.replicationWorkflowId);
  const withReplication = replication === undefined ? {} : { replication };
  if (options.output !== "text") {
    const context = { workflowId, app: appOf(workflowId), ui, ...withReplication };
    if (outcome !== undefined) printJson(resultJson(outcome, context));
    else
      printJson({
        schema_version: 1,
        workflow_id: workflowId,
        app: appOf(workflowId),
        ...(view === undefined ? {} : { status: view.status, ...viewJson(view) }),
        links: { ui },
      });
    return 0;
  }
  printLines(toStdout, [`run: ${workflowId}`, `ui:  ${ui}`, ""]);
  if (view !== undefined) printLines(toStdout, summaryLines(view, { changed: true, ...withReplication }));
  else if (outcome === undefined) printLines(toStdout, ["The run goes on, but no worker answers for it just now"]);
  if (outcome?.kind === "failed") {
    const error = outcome.view?.error;
    printLines(toStdout, ["", ...failureLines({ ...outcome, ui, workflowId, ...(error === undefined ? {} : { error }) })]);
  }
  return 0;
}

/** Opens the run's page in the Temporal UI where there is a desktop; prints its address everywhere. */
export async function runsOpen(run: string | undefined, options: RunsOptions): Promise<number> {
  const settings = requireSettings(options);
  await using controlPlane = await connectControlPlane(settings);
  const workflowId = await findRun(controlPlane, appFilter(settings, options), run);
  const ui = controlPlane.uiOf(workflowId);
  if (options.output === "text") toStdout(`${ui}\n`);
  else printJson({ schema_version: 1, workflow_id: workflowId, links: { ui } });
  const hasDesktop = (process.env.DISPLAY ?? process.env.WAYLAND_DISPLAY ?? "") !== "";
  if (process.stdout.isTTY && hasDesktop)
    spawn("xdg-open", [ui], { stdio: "ignore", detached: true })
      .on("error", () => undefined)
      .unref();
  return 0;
}

/** The build log of a run, every attempt of it. Followed, it ends with the build, or with the run where the build was lost. */
export async function runsLogs(run: string | undefined, options: RunsOptions & { readonly follow?: boolean }): Promise<number> {
  const settings = requireSettings(options);
  await using controlPlane = await connectControlPlane(settings);
  const workflowId = await findRun(controlPlane, appFilter(settings, options), run);
  const log = openBuildLog(settings, await nameRun(controlPlane, workflowId));
  const stop = new AbortController();
  const ended = () => openRun(controlPlane, workflowId).outcome(stop.signal, () => undefined);
  const entries = options.follow === true ? followBuild(log, ended(), stop.signal) : log.rest(stop.signal);
  try {
    for await (const entry of entries)
      if (options.output === "text") printLines(toStdout, buildEntryLines(entry));
      else toStdout(`${JSON.stringify(entry)}\n`);
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError(`Cannot read the build log of "${workflowId}": ${(cause as Error).message}`, {
      outcome: { kind: "unexpected" },
      tryCommand: "slipway doctor",
      cause,
    });
  } finally {
    stop.abort();
  }
  return 0;
}
