import type { RouteView } from "./router/router.ts";
import { machineLabels, type MachineState } from "./types.ts";

export type Serving = { readonly route: RouteView; readonly machine: MachineState };

/** Those of a release of which a route names a machine; one for each slot. */
export function servingMachines(routes: readonly RouteView[], machines: readonly MachineState[]): readonly Serving[] {
  return routes.flatMap((route) => {
    const ofApp = machines.filter(({ org, labels }) => org === route.org && labels[machineLabels.app] === route.app);
    const addresses = new Set(route.targets.map(({ address }) => address));
    const named = ofApp.filter(({ address }) => address !== undefined && addresses.has(address));
    const version = Math.max(...named.map(versionOf));
    const slots = new Map(ofApp.filter((machine) => versionOf(machine) === version).map((machine) => [slotOf(machine), machine]));
    return [...slots.values()].map((machine) => ({ route, machine }));
  });
}

const versionOf = ({ labels }: MachineState): number => Number(labels[machineLabels.version]);
const slotOf = ({ labels }: MachineState): string => `${labels[machineLabels.group]}/${labels[machineLabels.ordinal]}`;
