import {
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from "@temporalio/workflow";
import { control, onHost } from "./activities.ts";
import { type TurnOutcome, emptyAppState, granted, released, requested } from "./app-state.ts";
import type { TurnNotice } from "./app-state.ts";
import { isOfVersion } from "./machine-id.ts";
import { appQuery, releaseTurn, requestTurn, turnGranted, turnSuperseded } from "./messages.ts";
import { appAttribute, orgAttribute } from "./search-attributes.ts";
import type { AppInput, AppState, TurnRequest } from "./types.ts";

const holderCheckInterval = "20s";

type Message = { readonly kind: "request"; readonly request: TurnRequest } | { readonly kind: "end"; readonly end: TurnOutcome };

/**
 * One per app, for as long as the app lives: gives turns, knows the current release, takes away machines that are no release's any
 * more. A turn belongs to a running `deploy`; when that run is gone without a word the turn is taken back.
 */
export async function app(input: AppInput): Promise<void> {
  const { org, app: name } = input;
  let state = input.state ?? emptyAppState;
  const inbox: Message[] = [];
  setHandler(appQuery, () => state);
  setHandler(requestTurn, (request) => void inbox.push({ kind: "request", request }));
  setHandler(releaseTurn, (end) => void inbox.push({ kind: "end", end: { ...end, atMs: Date.now() } }));
  upsertSearchAttributes([
    { key: orgAttribute, value: org },
    { key: appAttribute, value: name },
  ]);
  if (input.state === undefined) state = await recover(org, name);

  const sweeps = new Set<Promise<void>>();
  const sweepInBackground = (host: string) => {
    const sweep = sweepMachines(org, name, host, () => state).finally(() => sweeps.delete(sweep));
    sweeps.add(sweep);
  };

  for (;;) {
    for (let message = inbox.shift(); message !== undefined; message = inbox.shift()) {
      if (message.kind === "request") {
        const asked = requested(state, message.request);
        state = asked.state;
        await tellAll(asked.notices, state);
      } else {
        const { holder } = state;
        state = released(state, message.end);
        if (holder !== undefined && state.holder === undefined) sweepInBackground(holder.host);
      }
      const turn = granted(state);
      state = turn.state;
      await tellAll(turn.notices, state);
      setCurrentDetails(describe(state));
    }
    if (workflowInfo().continueAsNewSuggested && sweeps.size === 0 && inbox.length === 0) {
      await continueAsNew<typeof app>({ org, app: name, state });
    }
    const spoken = () => inbox.length > 0;
    if (state.holder === undefined) await condition(spoken);
    else if (!(await condition(spoken, holderCheckInterval))) {
      const { holder } = state;
      const open = await control.isRunOpen(holder, "is the holder of the turn still running?");
      if (!open) inbox.push({ kind: "end", end: { ...holder, outcome: "lost", atMs: Date.now() } });
    }
  }
}

/** Begins from what the bucket and the host know, when there is no earlier state: after the first request, or after Temporal was lost. */
async function recover(org: string, name: string): Promise<AppState> {
  const { nextVersion, release, host } = await control.recoverApp({ org, app: name }, "look into the release ledger");
  if (release === undefined) return { ...emptyAppState, nextVersion };
  const machines = await onHost(host).listMachines({ org, app: name }, `which machines of ${name} run?`);
  const serving = machines.filter((machine) => isOfVersion(machine.id, release.version));
  return { ...emptyAppState, nextVersion, current: { release, machines: serving }, currentRequestedAtMs: release.createdAtMs };
}

/** Whatever is neither the current release's nor the holder's is a leftover of a run that ended, however it ended. */
async function sweepMachines(org: string, name: string, host: string, current: () => AppState): Promise<void> {
  const here = onHost(host);
  const machines = await here.listMachines({ org, app: name }, `which machines of ${name} are there?`);
  const { current: live, holder } = current();
  const kept = new Set(live?.machines.map((machine) => machine.id));
  const leftovers = machines.filter(
    (machine) => !kept.has(machine.id) && !(holder !== undefined && isOfVersion(machine.id, holder.version)),
  );
  const signal = live?.release.config.killSignal ?? "SIGTERM";
  const timeoutMs = live?.release.config.killTimeoutMs ?? 5000;
  await Promise.all(leftovers.map(({ id }) => here.removeMachine({ org, app: name, machineId: id, signal, timeoutMs }, `retire ${id}`)));
}

async function tellAll(notices: readonly TurnNotice[], state: AppState): Promise<void> {
  for (const notice of notices) {
    const { workflowId, runId } = notice.to;
    const deploy = getExternalWorkflowHandle(workflowId, runId);
    const { current } = state;
    const told =
      notice.kind === "superseded"
        ? deploy.signal(turnSuperseded, { by: notice.by })
        : deploy.signal(turnGranted, {
            version: notice.to.version,
            ...(current === undefined ? {} : { current: { version: current.release.version, machines: current.machines } }),
          });
    // a run that has ended cannot be told; its turn is taken back by the holder check
    await told.catch(() => undefined);
  }
}

function describe(state: AppState): string {
  const live =
    state.current === undefined
      ? "no release yet"
      : `**v${state.current.release.version}** is live \`${state.current.release.image.digest}\``;
  const turn = state.holder === undefined ? "nobody has the turn" : `turn: v${state.holder.version}, ${state.holder.workflowId}`;
  return [
    live,
    turn,
    `${state.waiting.length} waiting`,
    ...state.history.slice(-10).map((entry) => `- v${entry.version} ${entry.status}`),
  ].join("\n");
}
