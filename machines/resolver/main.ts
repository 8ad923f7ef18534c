/** The process `resolver`: DNS for each org's machines, on its gateway addresses. */
import { existsSync } from "node:fs";
import { pino } from "pino";
import { imageHostName } from "../../config/mirror-ports.ts";
import { instancePaths } from "../../config/paths.ts";
import { readWhenChanged } from "../../config/read-when-changed.ts";
import { announceReady } from "../../config/ready.ts";
import { settingsFromEnvironment } from "../../config/settings.ts";
import { networksOf, readNetworkRegistry } from "../network/network-registry.ts";
import { createHostServers } from "./host-servers.ts";
import { openResolver } from "./resolver.ts";
import { reverseZones } from "./reverse-zones.ts";
import { createZones } from "./zones.ts";

const log = pino({ name: "resolver" });
const settings = settingsFromEnvironment();

const resolver = await openResolver({
  networks: readWhenChanged(instancePaths.networks(settings), async () => networksOf(settings, await readNetworkRegistry(settings))),
  isUp: ({ bridge }) => existsSync(`/sys/class/net/${bridge}`),
  zone: createZones(settings),
  own: { imageHostName: imageHostName(settings.registry.imageHost), reverseZones: reverseZones(settings.network) },
  forwarder: { servers: createHostServers() },
  onChange: (change) => (change.state === "serving" ? log.info(change, "changed") : log.warn(change, "changed")),
});
announceReady(settings.runDir, "resolver");
log.info({ serving: resolver.serving() }, "serving");

process.once("SIGTERM", () => {
  log.info("ending");
  void resolver.close().finally(() => process.exit(0));
});
