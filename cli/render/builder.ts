import type { BuilderView } from "../../builder/gate/builder-view.ts";
import { formatDurationMs } from "../../config/duration.ts";
import { ageOf, sizeOf } from "./table.ts";

export function builderLines(builder: BuilderView, nowMs: number): string[] {
  const { org, host, state, sinceMs, uses, version, cache, limits, userNamespace, problem } = builder;
  const rows: (readonly [string, string | undefined])[] = [
    ["org", org],
    ["host", host],
    ["state", `${state}${sinceMs === undefined ? "" : ` for ${ageOf(sinceMs, nowMs)}`}`],
    ["problem", problem],
    ["uses", `${uses}${uses === 0 ? "" : ": builds and connections that keep it awake"}`],
    ["cache", cacheText(cache)],
    ["limits", `${limits.memoryMb} MiB of memory, ${limits.cpus} CPUs${diskText(limits)}; ${sleepText(limits)}`],
    ["root", userNamespace === undefined ? undefined : rootText(userNamespace)],
    ["buildkit", version],
  ];
  return rows.flatMap(([name, text]) => (text === undefined ? [] : [`${name.padEnd(9)} ${text}`]));
}

const rootText = (userNamespace: boolean): string =>
  userNamespace
    ? "nobody on the host (user namespace)"
    : "root of the host: its cache was begun so, and only a new one can be otherwise (slipway builder recreate --drop-cache)";

const diskText = ({ diskBytes }: BuilderView["limits"]): string => (diskBytes === undefined ? "" : `, ${sizeOf(diskBytes)} of disk`);

function sleepText({ idleTimeoutMs }: BuilderView["limits"]): string {
  return idleTimeoutMs === undefined ? "it stays awake" : `asleep after ${formatDurationMs(idleTimeoutMs)} without use`;
}

function cacheText({ sizeBytes, inUseBytes, records, maxBytes }: BuilderView["cache"]): string {
  if (sizeBytes === undefined) return "unknown";
  return [
    sizeOf(sizeBytes),
    ...(records === undefined ? [] : [`${records} records`]),
    ...(inUseBytes === undefined ? [] : [`${sizeOf(inUseBytes)} in use`]),
    ...(maxBytes === undefined ? [] : [`pruned above ${sizeOf(maxBytes)}`]),
  ].join(", ");
}

export function builderJson(builder: BuilderView): Record<string, unknown> {
  const { org, host, state, sinceMs, uses, version, cache, limits, userNamespace, problem } = builder;
  return {
    org,
    host,
    state,
    since: sinceMs === undefined ? undefined : new Date(sinceMs).toISOString(),
    uses,
    version,
    cache: { size_bytes: cache.sizeBytes, in_use_bytes: cache.inUseBytes, records: cache.records, max_bytes: cache.maxBytes },
    limits: { memory_mb: limits.memoryMb, cpus: limits.cpus, disk_bytes: limits.diskBytes, idle_timeout_ms: limits.idleTimeoutMs },
    user_namespace: userNamespace,
    problem,
  };
}
