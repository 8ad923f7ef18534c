import path from "node:path";
import type { Settings } from "../config/settings.ts";

/** The builder is the one machine of an org that is no app's. */
export const builderMachineId = "builder";

/** The mirror as everything in an org's network knows it. */
export const mirrorName = (settings: Settings): string => `_api.internal:${settings.mirror.port}`;

/** Where the builder's API socket appears on the host; its folder is bind-mounted into the machine. */
export const builderSocketDir = (settings: Settings, org: string): string => path.join(settings.runDir, "builders", org);
export const builderSocket = (settings: Settings, org: string): string => path.join(builderSocketDir(settings, org), "buildkitd.sock");

/** As gRPC names it. */
export const builderAddress = (settings: Settings, org: string): string => `unix:${builderSocket(settings, org)}`;
