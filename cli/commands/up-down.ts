import { down as stopStack } from "../../stack/down.ts";
import { up as startStack } from "../../stack/up.ts";
import { dataDirOption, type InstanceOptions } from "../instance.ts";
import { toStdout } from "../output.ts";
import { abortOnSignals } from "./abort-on-signals.ts";
import { progressOf } from "./stack-progress.ts";

type StackOptions = InstanceOptions & { readonly quiet?: boolean };
export type UpOptions = StackOptions & { readonly containerd?: string };
export type DownOptions = StackOptions & { readonly purge?: boolean };

/** Brings the stack up on this machine. */
export async function up(options: UpOptions): Promise<number> {
  const { settings, changed } = await startStack(
    { ...dataDirOption(options), ...containerdOption(options) },
    progressOf(options),
    abortOnSignals().signal,
  );
  toStdout(`${changed ? "up" : "up (nothing to change)"}: Temporal ${settings.temporal.uiUrl}, registry ${settings.registry.url}\n`);
  return 0;
}

/** Stops what `up` started; `--purge` removes the data, too. */
export async function down(options: DownOptions): Promise<number> {
  const stopped = await stopStack(
    { ...dataDirOption(options), purge: options.purge === true },
    progressOf(options),
    abortOnSignals().signal,
  );
  toStdout(stopped ? "down\n" : "down (nothing was set up)\n");
  return 0;
}

const containerdOption = ({ containerd }: UpOptions): { containerdSocket?: string } =>
  containerd === undefined || containerd === "" ? {} : { containerdSocket: containerd };
