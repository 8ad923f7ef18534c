import { type Command, Option } from "commander";
import { addCommand, addOutput } from "./options.ts";
import type { Run } from "./run.ts";

/** Loads a command that speaks gRPC with containerd, once the types of that are there. */
async function withGrpcTypes<T>(options: { quiet?: boolean }, load: () => Promise<T>): Promise<T> {
  await (await import("../commands/ensure-grpc-types.ts")).ensureGrpcTypes(options);
  return await load();
}

export function addStackCommands(program: Command, run: Run): void {
  addOutput(addCommand(program, "demo", "set everything up and deploy an example", "slipway demo"))
    .option("-q, --quiet", "no progress, only the result and errors")
    .action(async (options) => run(options, async () => (await withGrpcTypes(options, () => import("../commands/demo.ts"))).demo(options)));

  addCommand(program, "up", "install what is missing and start the stack on this machine", "sudo slipway up")
    .addOption(new Option("--containerd <socket>", "use this containerd instead of one of Slipway's own").env("SLIPWAY_CONTAINERD"))
    .option("-q, --quiet", "no progress, only the result and errors")
    .action(async (options) =>
      run(options, async () => (await withGrpcTypes(options, () => import("../commands/up-down.ts"))).up(options)),
    );

  addCommand(program, "down", "stop the stack and leave the machine as it was; data is kept", "sudo slipway down")
    .option("--purge", "remove the data, too")
    .option("-q, --quiet", "no progress, only the result and errors")
    .action(async (options) =>
      run(options, async () => (await withGrpcTypes(options, () => import("../commands/up-down.ts"))).down(options)),
    );

  addOutput(addCommand(program, "doctor", "check this machine and the stack on it", "slipway doctor")).action(async (options) =>
    run(options, async () => (await import("../commands/doctor.ts")).doctor(options)),
  );
}
