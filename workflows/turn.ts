import { CancellationScope, condition, getExternalWorkflowHandle, setHandler } from "@temporalio/workflow";
import { control } from "./activities.ts";
import { workflowIds } from "./ids.ts";
import { releaseTurn, turnGranted, turnSuperseded } from "./messages.ts";
import type { MachineView, Release, TurnRequest } from "./types.ts";

export type GrantedTurn = {
  readonly version: number;
  readonly current?: { readonly version: number; readonly machines: readonly MachineView[] };
};

export class SupersededError extends Error {
  readonly by: string;
  constructor(by: string) {
    super(`A newer run took this one's place: ${by}`);
    this.name = "SupersededError";
    this.by = by;
  }
}

export type TurnEnd =
  | { readonly outcome: "failed" | "cancelled" }
  | { readonly outcome: "live"; readonly release: Release; readonly machines: readonly MachineView[]; readonly url?: string };

/** This run's place in its app's queue. Only the holder of the turn changes the app's machines. */
export function openTurn(org: string, app: string) {
  let asked: TurnRequest | undefined;
  let grant: GrantedTurn | undefined;
  let supersededBy: string | undefined;
  setHandler(turnGranted, (granted) => void (grant = granted));
  setHandler(turnSuperseded, ({ by }) => void (supersededBy = by));

  return {
    /** @throws SupersededError */
    async take(request: TurnRequest): Promise<GrantedTurn> {
      asked = request;
      const answered = () => grant !== undefined || supersededBy !== undefined;
      // asking again is harmless, and needed when the app's workflow was lost with its memory of us
      do await control.askForTurn({ org, app, request });
      while (!(await condition(answered, "1m")));
      if (supersededBy !== undefined && grant === undefined) throw new SupersededError(supersededBy);
      return grant!;
    },
    /** Also for a run that only waited: it leaves the queue. */
    async giveBack(end: TurnEnd): Promise<void> {
      if (asked === undefined) return;
      const { workflowId, runId } = asked;
      await CancellationScope.nonCancellable(() =>
        getExternalWorkflowHandle(workflowIds.app(org, app)).signal(releaseTurn, { workflowId, runId, ...end }),
      );
    },
  };
}
