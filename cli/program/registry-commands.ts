import type { Command } from "commander";
import { addCommand, addOutput } from "./options.ts";
import type { Run } from "./run.ts";

export function addRegistryCommands(program: Command, run: Run): void {
  const registry = program
    .command("registry")
    .summary("look after the registry's storage")
    .description("Look after the registry's storage.");

  addOutput(addCommand(registry, "gc", "collect garbage now; it is collected every hour anyway", "slipway registry gc --dry-run"))
    .option("--dry-run", "only tell what would be done; waits for the answer")
    .option("--wait", "wait for the end and print what was done")
    .action(async (options) => run(options, async () => (await import("../commands/registry-gc.ts")).registryGc(options)));

  addOutput(
    addCommand(
      registry,
      "scrub",
      "hash all that is stored and report what is damaged (exit code 13)",
      "slipway registry scrub --quarantine",
    ),
  )
    .option("--repository <name>", "only this repository")
    .option("--quarantine", "take damaged blobs out of use, so that the next push brings them again")
    .action(async (options) => run(options, async () => (await import("../commands/registry-scrub.ts")).registryScrub(options)));
}
