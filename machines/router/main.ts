import { pino } from "pino";
import { instancePaths } from "../../config/paths.ts";
import { announceReady } from "../../config/ready.ts";
import { settingsFromEnvironment } from "../../config/settings.ts";
import { listenAdmin } from "./admin.ts";
import { openRouter } from "./router.ts";

const log = pino({ name: "router" });
const settings = settingsFromEnvironment();
const drainMs = 4000;

const router = await openRouter({
  stateFile: instancePaths.routes(settings),
  listenHost: settings.router.listenHost,
  firstPort: settings.router.firstPort,
});
const admin = await listenAdmin(router, settings.router.adminSocket);
announceReady(settings.runDir, "router");
log.info({ routes: router.list().map(({ org, app, url }) => ({ org, app, url })) }, "serving");

process.once("SIGTERM", () => {
  log.info("ending");
  void Promise.all([admin.close(), router.close(drainMs)]).then(
    () => process.exit(0),
    (error: unknown) => {
      log.error({ error }, "ended badly");
      process.exit(1);
    },
  );
});
