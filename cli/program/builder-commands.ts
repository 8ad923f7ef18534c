import { type Command, Option } from "commander";
import { addCommand, addOutput, orgName, wholeNumber } from "./options.ts";
import type { Run } from "./run.ts";

/** `slipway builder` and `slipway proxy`: both work from anywhere, through the gate of a host. */
export function addBuilderCommands(program: Command, run: Run): void {
  const builder = program
    .command("builder")
    .summary("look at an org's builder, start, stop, prune, replace it")
    .description("Look at an org's builder, start, stop, prune, replace it.");

  addGate(addCommand(builder, "status", "show state, cache and limits of the builder; wakes nothing", "slipway builder status")).action(
    async (options) => run(options, async () => (await import("../commands/builder-status.ts")).builderStatus(options)),
  );
  addGate(addCommand(builder, "start", "wake the builder, and wait until it answers", "slipway builder start")).action(async (options) =>
    run(options, async () => (await import("../commands/builder-start-stop.ts")).builderStart(options)),
  );
  addGate(addCommand(builder, "stop", "stop the builder, unless it is in use; its cache stays", "slipway builder stop")).action(
    async (options) => run(options, async () => (await import("../commands/builder-start-stop.ts")).builderStop(options)),
  );
  addGate(addCommand(builder, "logs", "show what buildkitd itself says", "slipway builder logs -f"))
    .option("-f, --follow", "go on as lines come")
    .addOption(new Option("-n, --lines <count>", "how many of the last lines").argParser(wholeNumber).default(100))
    .action(async (options) => run(options, async () => (await import("../commands/builder-logs.ts")).builderLogs(options)));
  addGate(addCommand(builder, "prune", "remove what no build uses now from the build cache", "slipway builder prune --keep-for 24h"))
    .option("--all", "also what BuildKit keeps for itself")
    .option("--keep-for <duration>", "leave what was used within this time")
    .option("--keep <size>", "stop when so much is left, 5gb for example; what was not used for longest goes first")
    .action(async (options) => run(options, async () => (await import("../commands/builder-prune.ts")).builderPrune(options)));
  addGate(addCommand(builder, "recreate", "replace the builder by a new one, with its cache", "slipway builder recreate"))
    .option("--drop-cache", "begin with an empty cache; asks before")
    .option("-y, --yes", "do not ask")
    .option("--force", "also when it is in use: builds start again, connections break")
    .action(async (options) => run(options, async () => (await import("../commands/builder-recreate.ts")).builderRecreate(options)));

  const proxy = program.command("proxy").summary("reach what is private from here").description("Reach what is private from here.");
  addGate(
    addCommand(
      proxy,
      "builder",
      "open a local socket that leads to the org's builder, for buildctl and docker buildx",
      "slipway proxy builder",
    ),
  )
    .option("--listen <address>", "unix:PATH, tcp or tcp:PORT on 127.0.0.1; default: a socket only you can open")
    .option("-q, --quiet", "only the address and errors")
    .action(async (options) => run(options, async () => (await import("../commands/proxy-builder.ts")).proxyBuilder(options)));
}

const addGate = (command: Command): Command =>
  addOutput(command)
    .addOption(new Option("--org <name>", "org; default: the instance's").env("SLIPWAY_ORG").argParser(orgName))
    .addOption(
      new Option("--gate <url>", "gate of the host, with a token in SLIPWAY_TOKEN; default: that of the instance here").env("SLIPWAY_GATE"),
    );
