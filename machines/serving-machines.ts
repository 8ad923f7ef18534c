import type { Route } from "./router/routes.ts";
import { machineLabels, type MachineState } from "./types.ts";

/**
 * Those of each app's live release, one for each slot: the newest of which a machine is marked as live or named by the app's route.
 * The mark alone tells for an app that takes no connections; the route alone, when a switch to it ended half-way.
 */
export function servingMachines(routes: readonly Route[], machines: readonly MachineState[]): readonly MachineState[] {
  const apps = new Set(machines.map(appOf));
  return [...apps].flatMap((key) => {
    const ofApp = machines.filter((machine) => appOf(machine) === key);
    const route = routes.find(({ org, app }) => `${org}/${app}` === key);
    const routed = new Set(route?.targets.map(({ address }) => address));
    const isLive = ({ address, labels }: MachineState) =>
      labels[machineLabels.live] !== undefined || (address !== undefined && routed.has(address));
    const version = Math.max(...ofApp.filter(isLive).map(versionOf));
    return [...new Map(ofApp.filter((machine) => versionOf(machine) === version).map((machine) => [slotOf(machine), machine])).values()];
  });
}

const appOf = ({ org, labels }: MachineState): string => `${org}/${labels[machineLabels.app]}`;
const versionOf = ({ labels }: MachineState): number => Number(labels[machineLabels.version]);
const slotOf = ({ labels }: MachineState): string => `${labels[machineLabels.group]}/${labels[machineLabels.ordinal]}`;
