import { type Command, Option } from "commander";
import { addCommand, addOutput, orgName } from "./options.ts";
import type { Run } from "./run.ts";

/** `slipway tokens`: who may pull from and push to the registry. */
export function addTokenCommands(program: Command, run: Run): void {
  const tokens = program.command("tokens").summary("let others use the registry").description("Let others use the registry.");
  const org = (text: string) => new Option("--org <name>", text).env("SLIPWAY_ORG").argParser(orgName);

  addOutput(addCommand(tokens, "create", "make a token, and print it this once", "slipway tokens create --app web --push --expires 90d"))
    .addOption(org("org whose images it is for; default: the instance's"))
    .option("-a, --app <name>", "only for this app; default: for all of the org")
    .option("--pull", "may pull; the default")
    .option("--push", "may push, and pull")
    .option("--delete", "may delete")
    .option("--expires <duration>", "ends by itself, after 90d for example; default: never")
    .option("--name <text>", "what the list calls it", "token")
    .action(async (options) => run(options, async () => (await import("../commands/tokens.ts")).tokensCreate(options)));
  addOutput(addCommand(tokens, "list", "list tokens, never their secrets", "slipway tokens list"))
    .addOption(org("only those of this org; default: all"))
    .action(async (options) => run(options, async () => (await import("../commands/tokens.ts")).tokensList(options)));
  addCommand(tokens, "revoke <id>", "end a token, within 5 minutes everywhere", "slipway tokens revoke 0123456789abcdef").action(
    async (id: string, options) => run(options, async () => (await import("../commands/tokens.ts")).tokensRevoke(id, options)),
  );
}
