import path from "node:path";
import type { Settings } from "../../config/settings.ts";
import { defaultSettings, preferredPorts } from "../../stack/default-settings.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import { makeOwnedDir } from "./owned-dir.ts";
import { type ServiceProcess, createServiceProcess } from "./service-process.ts";

export type RegistryProcess = ServiceProcess & { readonly url: string; readonly settings: Settings };

export type RegistryProcessOptions = {
  readonly bucket: string;
  readonly s3: { readonly endpoint: string; readonly region: string; readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly toolsBinDir: string;
  readonly amend?: (registry: Settings["registry"]) => Settings["registry"];
};

/** The process `registry` as `slipway up` would start it, on a free port, over a bucket of the caller's. */
export async function createRegistryProcess({ bucket, s3, toolsBinDir, amend }: RegistryProcessOptions): Promise<RegistryProcess> {
  const dir = await makeOwnedDir();
  const settings: Settings = defaultSettings({
    dataDir: path.join(dir, "data"),
    runDir: path.join(dir, "run"),
    hostId: "test",
    tools: { binDir: toolsBinDir, shareDir: dir },
    ports: { ...preferredPorts, registry: await anyFreePort(), metrics: await anyFreePort() },
    s3Keys: s3,
    ipv4Pool: "10.99.0.0/16",
  });
  const { endpoint, region, accessKeyId, secretAccessKey } = s3;
  const amended: Settings = {
    ...settings,
    registry: amend?.(settings.registry) ?? settings.registry,
    s3: { endpoint, bucket, accessKeyId, secretAccessKey, region, forcePathStyle: true },
  };
  const service = await createServiceProcess({ name: "registry", entry: "registry/main", settings: amended, dir });
  return { ...service, url: amended.registry.url, settings: amended };
}
