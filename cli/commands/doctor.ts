import { runDoctor } from "../../stack/doctor.ts";
import { findSettings, type InstanceOptions } from "../instance.ts";
import { printList, type OutputFormat } from "../output.ts";
import { abortOnSignals } from "./abort-on-signals.ts";

export type DoctorOptions = InstanceOptions & { readonly output: OutputFormat };

/** One line for each thing that has to hold on this machine; exit code 1 when one does not. */
export async function doctor(options: DoctorOptions): Promise<number> {
  const checks = await runDoctor(findSettings(options), abortOnSignals().signal);
  printList(options.output, {
    name: "checks",
    items: checks,
    json: ({ name, ok, detail, fix }) => ({ name, ok, detail, ...(ok || fix === undefined ? {} : { fix }) }),
    text: (all) =>
      all.flatMap((check) => [
        `${check.ok ? "ok  " : "FAIL"}  ${check.name}: ${check.detail}`,
        ...(check.ok || check.fix === undefined ? [] : [`      Try: ${check.fix}`]),
      ]),
  });
  return checks.every((check) => check.ok) ? 0 : 1;
}
