/** A supervisor of the engines alone, for tests of supervising itself. */
import { settingsFromEnvironment } from "../../config/settings.ts";
import { specsOf } from "../../stack/status.ts";
import { supervise } from "../../stack/supervisor.ts";

const settings = settingsFromEnvironment();
const engines = specsOf(settings).filter(({ name }) => name === "s3" || name === "temporal" || name === "containerd");
const supervisor = supervise(settings, engines, () => "test");
process.once("SIGTERM", supervisor.stop);
process.once("SIGUSR2", supervisor.leave);
await supervisor.ended;
process.exit(0);
