import { openContainerd } from "../../../../containerd/client.ts";
import type { Settings } from "../../../../config/settings.ts";
import { createMachines } from "../../../../machines/machines.ts";
import type { MachinePlan } from "../../../../machines/types.ts";

/** A process that starts one machine: to be killed in the middle of it. */
const { settings, plan } = JSON.parse(process.argv[2]!) as { settings: Settings; plan: MachinePlan };
const machines = createMachines({ containerd: openContainerd(settings.containerd.socket), settings });
await machines.ensureNetwork(plan.org, AbortSignal.timeout(20_000));
process.stdout.write("starting\n");
await machines.start(plan, AbortSignal.timeout(20_000));
process.stdout.write("started\n");
