import { Command } from "commander";
import { versionLine } from "../commands/version.ts";
import { addBuilderCommands } from "./builder-commands.ts";
import { addDeployCommands } from "./deploy-commands.ts";
import { addInspectCommands } from "./inspect-commands.ts";
import { addRegistryCommands } from "./registry-commands.ts";
import type { Run } from "./run.ts";
import { addStackCommands } from "./stack-commands.ts";
import { addTokenCommands } from "./token-commands.ts";

/** Every command with its options; nothing heavier than commander is loaded to make it. */
export function createProgram(run: Run): Command {
  const program = new Command("slipway")
    .description("From an app's source to running machines on your own hosts.")
    .version(versionLine(), "-V, --version", "print the version")
    .showHelpAfterError("(slipway --help shows all commands)")
    .configureHelp({ sortSubcommands: false, helpWidth: 110 })
    .addHelpText("after", "\nExample:\n  $ slipway deploy");
  addStackCommands(program, run);
  addDeployCommands(program, run);
  addInspectCommands(program, run);
  addBuilderCommands(program, run);
  addTokenCommands(program, run);
  addRegistryCommands(program, run);
  return program;
}
