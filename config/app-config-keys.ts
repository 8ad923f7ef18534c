/** What may be said about a key of slipway.toml: `read`, `ignored` (a fly.toml key without effect here), or refused with a reason. */
type KeyRule = "read" | "ignored" | { readonly refused: string } | { readonly table: KeyTable } | { readonly tables: KeyTable } | "names";
export type KeyTable = { readonly [key: string]: KeyRule };

const read = (...keys: string[]): KeyTable => Object.fromEntries(keys.map((key) => [key, "read"]));
const ignored = (...keys: string[]): KeyTable => Object.fromEntries(keys.map((key) => [key, "ignored"]));
const noTraffic = "nothing but [http_service] takes traffic yet; describe the port there";

/**
 * Every key of fly.toml by table. Keys whose loss would change what an app *does* (its data, its traffic, its migrations) are refused
 * rather than ignored.
 */
export const appConfigKeys: KeyTable = {
  ...read("app", "kill_signal", "kill_timeout"),
  ...ignored("primary_region", "swap_size_mb", "console_command", "host_dedication_id", "machine_config"),
  ...ignored("restart", "metrics", "experimental", "checks"),
  build: {
    table: {
      ...read("dockerfile", "build-target", "args", "ignorefile", "platform", "provenance", "sbom"),
      contexts: "names",
      ...ignored("settings", "compression", "compression_level", "compose"),
      builder: { refused: "only Dockerfiles are built; name one with build.dockerfile" },
      buildpacks: { refused: "only Dockerfiles are built; name one with build.dockerfile" },
      builtin: { refused: "only Dockerfiles are built; name one with build.dockerfile" },
      image: { refused: "an app is built from its source; remove the key and add a Dockerfile" },
    },
  },
  deploy: {
    table: {
      ...read("strategy", "wait_timeout"),
      ...ignored("max_unavailable", "release_command_timeout", "release_command_vm"),
      release_command: { refused: "release commands are not run yet; run it as part of the machine's start" },
      seed_command: { refused: "seed commands are not run yet; run it as part of the machine's start" },
    },
  },
  env: "names",
  processes: "names",
  http_service: {
    table: {
      ...read("internal_port", "processes"),
      ...ignored("force_https", "auto_stop_machines", "auto_start_machines", "min_machines_running", "concurrency"),
      ...ignored("tls_options", "http_options", "machine_checks"),
      checks: {
        tables: {
          ...read("interval", "timeout", "grace_period", "method", "path"),
          ...ignored("protocol", "headers", "tls_server_name", "tls_skip_verify"),
        },
      },
    },
  },
  vm: {
    tables: {
      ...read("memory", "memory_mb", "cpus", "processes"),
      ...ignored("size", "cpu_kind", "gpus", "gpu_kind", "host_dedication_id", "kernel_args", "persist_rootfs"),
    },
  },
  services: { refused: noTraffic },
  mounts: { refused: "volumes are not supported yet, and data written without one is lost with each release" },
  files: { refused: "files are not written into machines yet; COPY them in the Dockerfile" },
  statics: { refused: "static files are not served from outside the machine yet; serve them from the app" },
};
