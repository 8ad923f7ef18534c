import type { MachineView } from "../../workflows/types.ts";

/** A machine in JSON's names, schema version 1. */
export function machineJson(machine: MachineView) {
  return {
    id: machine.id,
    host: machine.host,
    group: machine.group,
    state: machine.state,
    healthy: machine.healthy,
    ...(machine.address === undefined ? {} : { address: machine.address }),
    image_digest: machine.digest,
  };
}
