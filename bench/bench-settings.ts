import path from "node:path";
import type { Settings } from "../config/settings.ts";
import { defaultSettings, preferredPorts } from "../stack/default-settings.ts";

type DefaultOptions = Parameters<typeof defaultSettings>[0];

/** Settings for a process of ours in a bench, with folders below `dir`; what it does not speak to has made-up addresses. */
export function benchSettings({
  dir,
  tools,
  ...more
}: { readonly dir: string } & Pick<DefaultOptions, "tools"> & Partial<Omit<DefaultOptions, "dataDir" | "runDir">>): Settings {
  return defaultSettings({
    dataDir: path.join(dir, "data"),
    runDir: path.join(dir, "run"),
    hostId: "bench",
    ports: preferredPorts,
    s3Keys: { accessKeyId: "none", secretAccessKey: "none" },
    ipv4Pool: "10.99.0.0/16",
    tools,
    ...more,
  });
}
