import { parse, TomlError } from "smol-toml";
import type { HttpCheck, ResolvedAppConfig } from "../workflows/types.ts";
import { appConfigKeys, type KeyTable } from "./app-config-keys.ts";
import { appConfigSchema, type AppConfigToml } from "./app-config-schema.ts";
import { tomlLine } from "./toml-lines.ts";

/** The config file is wrong: every fault at once, one a line, each with file, line, key, expected and found. */
export class AppConfigError extends Error {
  override readonly name = "AppConfigError";
  readonly faults: readonly string[];

  constructor(fileName: string, faults: readonly string[]) {
    super(`Cannot use "${fileName}":\n${faults.map((fault) => `  ${fault}`).join("\n")}`);
    this.faults = faults;
  }
}

export type ParsedAppConfig = {
  readonly config: ResolvedAppConfig;
  /** path of the ignore file as the config names it, relative to the config */
  readonly ignoreFile?: string;
  /** `[build.contexts]` as it stands there; its directories are relative to the source's */
  readonly contexts: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
};

type Path = readonly (string | number)[];
type Table = Record<string, unknown>;

/** Reads `slipway.toml` or `fly.toml`. @throws AppConfigError with every fault found. */
export function parseAppConfig(text: string, fileName: string): ParsedAppConfig {
  const toml = readToml(text, fileName);
  const at = (path: Path): string => {
    const line = tomlLine(text, path);
    return line === undefined ? fileName : `${fileName}:${line}`;
  };
  const faults: string[] = [];
  const ignored: string[] = [];
  judgeKeys(toml, appConfigKeys, [], { faults, ignored, at });
  const groups = Object.keys(isTable(toml.processes) ? toml.processes : {}).filter((group) => group !== "app");
  for (const group of groups)
    faults.push(`${at(["processes", group])}: processes.${group}: only the process group "app" is run yet, found "${group}"`);
  const result = appConfigSchema.safeParse(toml);
  for (const issue of flatten(result.error?.issues ?? []))
    faults.push(`${at(issue.path)}: ${keyName(issue.path)}: ${issue.message}, found ${describe(valueAt(toml, issue.path))}`);
  if (!result.success || faults.length > 0) throw new AppConfigError(fileName, faults);

  const warnings = [...new Set(ignored)].map((key) => `${fileName}: ${key} has no effect here and is ignored`);
  if (result.data.http_service?.checks?.length === 0)
    warnings.push(`${fileName}: http_service.checks is empty: a release takes traffic as soon as its machine runs`);
  const ignoreFile = result.data.build?.ignorefile;
  const contexts = result.data.build?.contexts ?? {};
  return { config: resolve(result.data), contexts, ...(ignoreFile === undefined ? {} : { ignoreFile }), warnings };
}

function readToml(text: string, fileName: string): Table {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = error.message.split("\n")[0]!.replace(/^Invalid TOML document: /, "");
    throw new AppConfigError(fileName, [`${fileName}:${error.line}:${error.column}: expected TOML: ${what}`]);
  }
}

type Verdict = { faults: string[]; ignored: string[]; at: (path: Path) => string };

function judgeKeys(table: Table, rules: KeyTable, path: Path, verdict: Verdict): void {
  for (const [key, value] of Object.entries(table)) {
    const here = [...path, key];
    const rule = Object.hasOwn(rules, key) ? rules[key] : undefined;
    if (rule === undefined) {
      const known = Object.keys(rules).filter((name) => rules[name] !== "ignored" && !isRefused(rules[name]));
      verdict.faults.push(`${verdict.at(here)}: ${keyName(here)}: unknown key, expected one of ${known.join(", ")}`);
    } else if (rule === "ignored") {
      verdict.ignored.push(keyName(here));
    } else if (typeof rule === "object" && "refused" in rule) {
      verdict.faults.push(`${verdict.at(here)}: ${keyName(here)}: not supported: ${rule.refused}`);
    } else if (typeof rule === "object" && "table" in rule) {
      if (isTable(value)) judgeKeys(value, rule.table, here, verdict);
    } else if (typeof rule === "object") {
      const tables = Array.isArray(value) ? value : [value];
      for (const [index, entry] of tables.entries())
        if (isTable(entry)) judgeKeys(entry, rule.tables, Array.isArray(value) ? [...here, index] : here, verdict);
    }
  }
}

const isRefused = (rule: KeyTable[string] | undefined): boolean => typeof rule === "object" && "refused" in rule;
const isTable = (value: unknown): value is Table =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);

type Issue = { readonly path: Path; readonly message: string };
type ZodIssue = NonNullable<ReturnType<typeof appConfigSchema.safeParse>["error"]>["issues"][number];

function flatten(issues: readonly ZodIssue[]): Issue[] {
  return issues.map((issue) => ({
    path: issue.path.map((part) => (typeof part === "symbol" ? String(part) : part)),
    message: issue.code === "invalid_key" ? (issue.issues[0]?.message ?? issue.message) : issue.message,
  }));
}

function keyName(path: Path): string {
  return path.reduce<string>((name, part) => (typeof part === "number" ? `${name}[${part}]` : name === "" ? part : `${name}.${part}`), "");
}

function valueAt(toml: unknown, path: Path): unknown {
  let value = toml;
  for (const part of path) value = isTable(value) || Array.isArray(value) ? (value as Table)[part] : undefined;
  return value;
}

function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (isTable(value)) return "a table";
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

const defaultCheck = { intervalMs: 500, timeoutMs: 5000, gracePeriodMs: 5000, method: "GET", path: "/" } as const;

function resolve(toml: AppConfigToml): ResolvedAppConfig {
  const vm = toml.vm?.[0];
  const command = toml.processes?.app;
  return {
    app: toml.app,
    env: toml.env ?? {},
    build: resolveBuild(toml.build ?? {}),
    groups: [
      {
        name: "app",
        ...(command === undefined ? {} : { command }),
        count: 1,
        memoryMb: vm?.memory ?? vm?.memory_mb ?? 256,
        cpus: vm?.cpus ?? 1,
      },
    ],
    ...(toml.http_service === undefined ? {} : { http: resolveHttp(toml.http_service) }),
    waitTimeoutMs: toml.deploy?.wait_timeout ?? 300_000,
    killTimeoutMs: toml.kill_timeout ?? 5000,
    killSignal: toml.kill_signal ?? "SIGINT",
  };
}

function resolveBuild(build: NonNullable<AppConfigToml["build"]>): ResolvedAppConfig["build"] {
  const { dockerfile = "Dockerfile", "build-target": target, args = {}, platform, provenance, sbom } = build;
  return {
    dockerfile,
    ...(target === undefined ? {} : { target }),
    args,
    ...(platform === undefined ? {} : { platform }),
    ...(provenance === undefined || provenance === false ? {} : { provenance: provenance === true ? "min" : provenance }),
    ...(sbom === undefined || sbom === false ? {} : { sbom: sbom === true ? {} : { generator: sbom } }),
  };
}

/** Without checks of its own a service is asked for "/": a release never takes traffic unproved unless `checks = []` says so. */
function resolveHttp(service: NonNullable<AppConfigToml["http_service"]>): NonNullable<ResolvedAppConfig["http"]> {
  const internalPort = service.internal_port ?? 8080;
  const checks = (service.checks ?? [{}]).map((check): HttpCheck => ({
    path: check.path ?? defaultCheck.path,
    port: internalPort,
    method: check.method ?? defaultCheck.method,
    intervalMs: check.interval ?? defaultCheck.intervalMs,
    timeoutMs: check.timeout ?? defaultCheck.timeoutMs,
    gracePeriodMs: check.grace_period ?? defaultCheck.gracePeriodMs,
  }));
  return { internalPort, checks };
}
