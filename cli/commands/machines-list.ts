import { shortDigest } from "../../oci/digest.ts";
import { listApps } from "../control-plane/apps.ts";
import { connectControlPlane } from "../control-plane/connect.ts";
import { requireSettings } from "../instance.ts";
import { printList } from "../output.ts";
import { machineJson } from "../render/machine-json.ts";
import { stateOf } from "../render/step-lines.ts";
import { tableLines } from "../render/table.ts";
import { appFilter } from "./app-filter.ts";
import type { StatusOptions } from "./status.ts";

/** The machines of the live releases. */
export async function machinesList(options: StatusOptions): Promise<number> {
  const settings = requireSettings(options);
  const filter = appFilter(settings, options);
  await using controlPlane = await connectControlPlane(settings);
  const apps = await listApps(controlPlane, filter.org, filter.app);
  const machines = apps.flatMap(({ app, state: { current } }) =>
    current === undefined ? [] : current.machines.map((machine) => ({ app, version: current.release.version, machine })),
  );
  printList(options.output, {
    name: "machines",
    items: machines,
    json: ({ app, version, machine }) => ({ org: filter.org, app, version, ...machineJson(machine) }),
    text: (all) =>
      tableLines(
        ["MACHINE", "APP", "VERSION", "HOST", "STATE", "ADDRESS", "DIGEST"],
        all.map(({ app, version, machine }) => [
          machine.id,
          app,
          `v${version}`,
          machine.host,
          stateOf(machine),
          machine.address ?? "",
          shortDigest(machine.digest),
        ]),
      ),
  });
  return 0;
}
