import { Command, InvalidArgumentError, Option } from "commander";
import { isOrgName, orgNameRule } from "../../config/org-name.ts";

/** The command's exit code. */
export type Action = (...args: never[]) => Promise<number> | number;

/** A command with its one example; `action` imports what it needs when it is called, so that `--help` stays fast. */
export function addCommand(parent: Command, usage: string, summary: string, example: string): Command {
  return parent
    .command(usage)
    .summary(summary)
    .description(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`)
    .addHelpText("after", `\nExample:\n  $ ${example}`)
    .addOption(new Option("--data-dir <dir>", "folder of the instance").env("SLIPWAY_DATA"));
}

export const addApp = (command: Command): Command =>
  command
    .option("-a, --app <name>", "app; default: the one of ./slipway.toml")
    .addOption(new Option("--org <name>", "org; default: the instance's").env("SLIPWAY_ORG").argParser(orgName));

export function orgName(text: string): string {
  if (isOrgName(text)) return text;
  throw new InvalidArgumentError(`Expected ${orgNameRule}.`);
}

export function wholeNumber(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Expected a whole number.");
}

export const addOutput = (command: Command): Command =>
  command.addOption(new Option("-o, --output <format>", "form of the result on stdout").choices(["text", "json", "jsonl"]).default("text"));

export const addFollow = (command: Command): Command =>
  addOutput(command)
    .addOption(new Option("--wait-for <state>", "what to wait for").choices(["deployed", "replicated"]).default("deployed"))
    .option("--timeout <duration>", "how long this client waits; the run goes on (exit code 124)")
    .addOption(new Option("--progress <style>", "form of the progress on stderr").choices(["auto", "tty", "plain"]).default("auto"))
    .option("-q, --quiet", "no progress, only the result and errors")
    .option("-v, --verbose", "stack traces with errors");

export const collect = (value: string, earlier: readonly string[] = []): string[] => [...earlier, value];
