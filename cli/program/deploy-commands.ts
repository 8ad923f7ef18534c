import { type Command, Option } from "commander";
import { addApp, addCommand, addFollow, collect } from "./options.ts";
import type { Run } from "./run.ts";

export function addDeployCommands(program: Command, run: Run): void {
  addFollow(
    addApp(
      addCommand(
        program,
        "deploy [source]",
        "build an app from a directory or a git repository and roll it out",
        "slipway deploy . -e LOG_LEVEL=debug",
      ),
    )
      .option("-c, --config <file>", "config; default: slipway.toml or fly.toml of the directory")
      .option("-e, --env <name=value>", "environment variable of the machines (repeatable)", collect)
      .option("--dockerfile <path>", "Dockerfile, relative to the directory")
      .option("--ignorefile <path>", "ignore file; default: <Dockerfile>.dockerignore or .dockerignore")
      .option("--build-target <stage>", "stage of the Dockerfile to build")
      .option("--build-arg <name=value>", "argument of the build (repeatable)", collect)
      .option(
        "--build-context <name=value>",
        "directory, git repository, docker-image://IMAGE or URL for a name in the Dockerfile (repeatable)",
        collect,
      )
      .option("--platform <os/arch>", "platform to build for; default: the host's own")
      .option("--provenance [mode]", "attach how the image was built: min (the default mode), max or false")
      .option("--sbom [generator]", "attach what is in the image: true, generator=IMAGE or false")
      .option("--label <name=value>", "label of the image (repeatable)", collect)
      .option("--build-secret <name[=value]>", "secret of the build; without a value, of the environment (repeatable)", collect)
      .option("--build-secret-file <name=path>", "secret of the build that a file holds (repeatable)", collect)
      .option("--allow <entitlement>", "network.host or security.insecure for steps that ask for it (repeatable)", collect)
      .option("--no-cache", "build every step anew")
      .option("--detach", "return as soon as the run has been started")
      .option("--idempotency-key <key>", "one release per key; default: one that names the CI job, else a random one"),
  )
    .addOption(new Option("-y, --yes").hideHelp())
    .addOption(new Option("--now").hideHelp())
    .addOption(new Option("--buildkit").hideHelp())
    .addOption(new Option("--remote-only").hideHelp())
    .action(async (directory: string | undefined, options) =>
      run(options, async () => (await import("../commands/deploy.ts")).deploy(directory ?? ".", options)),
    );

  addFollow(addApp(addCommand(program, "watch [run]", "re-attach to a run; default: the newest", "slipway watch -a web")))
    .alias("attach")
    .action(async (id: string | undefined, options) => run(options, async () => (await import("../commands/watch.ts")).watch(id, options)));

  addApp(addCommand(program, "cancel [run]", "cancel a run, with clean-up; default: the newest", "slipway cancel -a web"))
    .option("--force", "terminate the run without clean-up")
    .action(async (id: string | undefined, options) =>
      run(options, async () => (await import("../commands/cancel.ts")).cancel(id, options)),
    );
}
