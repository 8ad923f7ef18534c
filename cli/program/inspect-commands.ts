import { type Command, Option } from "commander";
import { addApp, addCommand, addOutput, wholeNumber } from "./options.ts";
import type { Run } from "./run.ts";

export function addInspectCommands(program: Command, run: Run): void {
  addOutput(
    addApp(addCommand(program, "status [app]", "show release, machines and replication of an app, or of all", "slipway status web")),
  ).action(async (app: string | undefined, options) =>
    run(options, async () => (await import("../commands/status.ts")).status(app, options)),
  );
  addRunsCommands(program, run);

  const machines = program.command("machines").summary("look at machines").description("Look at machines.");
  addOutput(addApp(addCommand(machines, "list", "list the machines of live releases", "slipway machines list"))).action(async (options) =>
    run(options, async () => (await import("../commands/machines-list.ts")).machinesList(options)),
  );

  addApp(addCommand(program, "logs [app]", "show the output of an app's machines", "slipway logs web -f"))
    .option("-f, --follow", "go on as lines come")
    .option("-n, --lines <count>", "how many of the last lines", "100")
    .option("--machine <id>", "only this machine")
    .action(async (app: string | undefined, options) => run(options, async () => (await import("../commands/logs.ts")).logs(app, options)));

  const image = program
    .command("image")
    .summary("look at images, make base images, make room")
    .description("Look at images, make base images, make room.");
  addOutput(addApp(addCommand(image, "list", "list deployed images and their replication", "slipway image list"))).action(async (options) =>
    run(options, async () => (await import("../commands/image-list.ts")).imageList(options)),
  );
  addCommand(
    image,
    "bases [names...]",
    "build base images from packages, for networks without Docker Hub",
    "slipway image bases debian node",
  )
    .option("-q, --quiet", "no progress, only the result and errors")
    .action(async (names: string[], options) =>
      run(options, async () => (await import("../commands/image-bases.ts")).imageBases(names, options)),
    );

  addOutput(
    addCommand(image, "prune", "remove images of a host that nobody needs; it is done every hour anyway", "slipway image prune --dry-run"),
  )
    .option("--dry-run", "only tell what would go, what would stay, and why")
    .option("--host <id>", "host whose images; default: this instance's")
    .addOption(
      new Option(
        "--keep <count>",
        "releases of each app that keep their image beside the live one's; default: as the settings say",
      ).argParser(wholeNumber),
    )
    .action(async (options) => run(options, async () => (await import("../commands/image-prune.ts")).imagePrune(options)));

  addCommand(program, "version", "print the version", "slipway version").action(async (options) =>
    run(options, async () => (await import("../commands/version.ts")).version()),
  );
}

function addRunsCommands(program: Command, run: Run): void {
  const runs = program.command("runs").summary("look at deploy runs").description("Look at deploy runs.");
  addOutput(addApp(addCommand(runs, "list", "list runs, newest first", "slipway runs list -a web")))
    .option("-n, --limit <count>", "how many at most", "20")
    .action(async (options) => run(options, async () => (await import("../commands/runs.ts")).runsList(options)));
  addOutput(addApp(addCommand(runs, "show [run]", "show a run; default: the newest", "slipway runs show -o json"))).action(
    async (id: string | undefined, options) => run(options, async () => (await import("../commands/runs.ts")).runsShow(id, options)),
  );
  addOutput(addApp(addCommand(runs, "open [run]", "print a run's page in the Temporal UI, and open it", "slipway runs open"))).action(
    async (id: string | undefined, options) => run(options, async () => (await import("../commands/runs.ts")).runsOpen(id, options)),
  );
  addOutput(addApp(addCommand(runs, "logs [run]", "show a run's build log", "slipway runs logs -f")))
    .option("-f, --follow", "go on as lines come")
    .action(async (id: string | undefined, options) =>
      run(options, async () => (await import("../commands/runs.ts")).runsLogs(id, options)),
    );
}
