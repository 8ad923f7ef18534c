import { down as stopStack } from "../../stack/down.ts";
import { up as startStack } from "../../stack/up.ts";
import type { InstanceOptions } from "../instance.ts";
import { toStderr, toStdout } from "../output.ts";

type StackOptions = InstanceOptions & { readonly quiet?: boolean };
export type UpOptions = StackOptions & { readonly containerd?: string };
export type DownOptions = StackOptions & { readonly purge?: boolean };

const progressOf =
  (options: StackOptions) =>
  (line: string): void => {
    if (options.quiet !== true) toStderr(`--> ${line}\n`);
  };

/** Ends the work in hand at the first Ctrl-C or SIGTERM. */
export function abortOnSignals(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => controller.abort(new Error(`Stopped by ${name}`)));
  return controller.signal;
}

/** Brings the stack up on this machine. */
export async function up(options: UpOptions): Promise<number> {
  const { settings, changed } = await startStack(
    { ...dataDirOption(options), ...containerdOption(options) },
    progressOf(options),
    abortOnSignals(),
  );
  toStdout(`${changed ? "up" : "up (nothing to change)"}: Temporal ${settings.temporal.uiUrl}, registry ${settings.registry.url}\n`);
  return 0;
}

/** Stops what `up` started; `--purge` removes the data, too. */
export async function down(options: DownOptions): Promise<number> {
  const stopped = await stopStack({ ...dataDirOption(options), purge: options.purge === true }, progressOf(options), abortOnSignals());
  toStdout(stopped ? "down\n" : "down (nothing was set up)\n");
  return 0;
}

const containerdOption = ({ containerd }: UpOptions): { containerdSocket?: string } =>
  containerd === undefined || containerd === "" ? {} : { containerdSocket: containerd };

export const dataDirOption = (options: InstanceOptions): { dataDir?: string } =>
  options.dataDir === undefined ? {} : { dataDir: options.dataDir };
