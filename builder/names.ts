import path from "node:path";
import { apiHostname } from "../config/mirror-ports.ts";
import { instancePaths } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";

/** The mirror as everything in an org's network knows it. */
export const mirrorName = (settings: Settings): string => `${apiHostname}:${settings.mirror.port}`;

export const builderSocket = instancePaths.builderSocket;
export const builderSocketDir = (settings: Settings, org: string): string => path.dirname(builderSocket(settings, org));

/** Held while a builder is started, suspended, stopped or removed; out of the reach of the builder itself. */
export const builderLock = (settings: Settings, org: string): string => path.join(settings.runDir, "builder-locks", org);

/** As gRPC names it. */
export const builderAddress = (settings: Settings, org: string): string => `unix:${builderSocket(settings, org)}`;
