import { queryApp } from "../control-plane/apps.ts";
import { connectControlPlane } from "../control-plane/connect.ts";
import type { Settings } from "../../config/settings.ts";
import { CliError } from "../errors.ts";
import { readMachineLog } from "../follow/log-client.ts";
import { requireSettings, type InstanceOptions } from "../instance.ts";
import { toStdout } from "../output.ts";
import { presentableLine } from "../../config/strip-control.ts";
import { appFilter, type AppOptions } from "./app-filter.ts";

export type LogsOptions = InstanceOptions & AppOptions & { readonly follow?: boolean; readonly lines: string; readonly machine?: string };

/** The output of an app's machines; of several, each line says whose it is. */
export async function logs(app: string | undefined, options: LogsOptions): Promise<number> {
  const tail = Number(options.lines);
  if (!Number.isInteger(tail) || tail < 0) throw new CliError(`Cannot read --lines "${options.lines}": expected a number`);
  const settings = requireSettings(options);
  const filter = appFilter(settings, app === undefined ? options : { ...options, app });
  const machines = options.machine === undefined ? await machinesOf(settings, filter.org, filter.app) : [options.machine];
  const { signal } = new AbortController();
  const read = machines.map(async (machineId) => {
    const prefix = machines.length > 1 ? `${machineId} | ` : "";
    for await (const line of readMachineLog(settings, { org: filter.org, machineId, follow: options.follow === true, tail }, signal))
      toStdout(`${prefix}${presentableLine(line)}\n`);
  });
  try {
    await Promise.all(read);
  } catch (cause) {
    throw new CliError((cause as Error).message, {
      outcome: { kind: "unexpected" },
      tryCommand: "slipway doctor",
      cause,
    });
  }
  return 0;
}

async function machinesOf(settings: Settings, org: string, app: string | undefined): Promise<string[]> {
  if (app === undefined) throw new CliError("Cannot tell whose logs to read: expected an app", { tryCommand: "slipway logs APP" });
  await using controlPlane = await connectControlPlane(settings);
  const state = await queryApp(controlPlane, org, app);
  const machines = state?.current?.machines.map((machine) => machine.id) ?? [];
  if (machines.length === 0) throw new CliError(`Cannot find a machine of app "${app}"`, { tryCommand: "slipway status" });
  return machines;
}
