import { settingsFromEnvironment } from "../config/settings.ts";
import { instancePaths } from "../config/paths.ts";
import { entryPoint } from "./entry-point.ts";
import { stackProcesses } from "./processes.ts";
import { revisionsOf } from "./revision.ts";
import { supervise } from "./supervisor.ts";

const settings = settingsFromEnvironment();
const specs = stackProcesses(settings, { settingsFile: instancePaths.settings(settings.dataDir), entryPoint });
const supervisor = supervise(settings, specs, revisionsOf(settings));
/** SIGTERM stops the stack; SIGUSR2 hands it over to the next supervisor. */
process.once("SIGTERM", supervisor.stop);
process.once("SIGINT", supervisor.stop);
process.once("SIGUSR2", supervisor.leave);
await supervisor.ended;
process.exit(0);
