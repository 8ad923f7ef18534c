import path from "node:path";
import { inject } from "vitest";
import type { Settings } from "../../../config/settings.ts";
import { defaultSettings, preferredPorts } from "../../../stack/default-settings.ts";
import { makeOwnedDir } from "../../support/owned-dir.ts";
import { type ServiceProcess, createServiceProcess } from "../../support/service-process.ts";

/** The process `control` as `slipway up` would start it, on the Temporal of the run, over a bucket of the test's. */
export async function createControlProcess(bucket: string, endpoint = inject("s3").endpoint): Promise<ServiceProcess> {
  const dir = await makeOwnedDir();
  const settings = defaultSettings({
    dataDir: path.join(dir, "data"),
    runDir: path.join(dir, "run"),
    hostId: "test",
    tools: { binDir: inject("toolsBinDir"), shareDir: dir },
    ports: preferredPorts,
    s3Keys: inject("s3"),
    ipv4Pool: "10.99.0.0/16",
  });
  const amended: Settings = {
    ...settings,
    temporal: { ...settings.temporal, address: inject("temporalAddress") },
    s3: { ...settings.s3, region: inject("s3").region, endpoint, bucket },
  };
  return createServiceProcess({ name: "control", entry: "workers/control", settings: amended, dir });
}
