import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { parseAppConfig } from "../../config/app-config.ts";
import { appNameRule, appNameShape } from "../../config/app-config-schema.ts";
import { type Entitlement, entitlements, isEntitlement } from "../../config/entitlements.ts";
import { platformRule, platformShape } from "../../config/platform.ts";
import type { ResolvedAppConfig } from "../../workflows/types.ts";
import { CliError } from "../errors.ts";
import { type AttestationOptions, chooseAttestations } from "./attestations.ts";
import { type BuildContexts, chooseContexts } from "./build-contexts.ts";

export type ProjectOptions = AttestationOptions & {
  readonly app?: string;
  readonly config?: string;
  readonly env?: readonly string[];
  readonly dockerfile?: string;
  readonly buildTarget?: string;
  readonly buildArg?: readonly string[];
  readonly label?: readonly string[];
  readonly platform?: string;
  readonly allow?: readonly string[];
  readonly buildContext?: readonly string[];
  readonly ignorefile?: string;
};

export type Project = {
  readonly directory: string;
  readonly config: ResolvedAppConfig;
  readonly ignoreFile?: string;
  /** what names in the Dockerfile stand for; directories are not uploaded yet */
  readonly contexts: BuildContexts;
  readonly warnings: readonly string[];
};

export const configNames = ["slipway.toml", "fly.toml"] as const;

/** The source directory with its config, options applied. @throws CliError, AppConfigError */
export function readProject(directory: string, options: ProjectOptions): Project {
  if (!existsSync(directory) || !statSync(directory).isDirectory())
    throw new CliError(`Cannot deploy "${directory}": expected a directory with the app's source`);
  const file = findConfig(directory, options.config);
  const parsed = parseAppConfig(readFileSync(file, "utf8"), path.relative(process.cwd(), file) || file);
  const config = applyOptions(parsed.config, options);
  if (!existsSync(path.join(directory, config.build.dockerfile)))
    throw new CliError(
      `Cannot find "${config.build.dockerfile}" in "${directory}"; name the Dockerfile with --dockerfile or build.dockerfile`,
    );
  const ignoreFile = options.ignorefile ?? parsed.ignoreFile;
  return {
    directory,
    config,
    contexts: chooseContexts({ options: options.buildContext ?? [], config: parsed.contexts, sourceDirectory: directory }),
    warnings: parsed.warnings,
    ...(ignoreFile === undefined ? {} : { ignoreFile: path.resolve(directory, ignoreFile) }),
  };
}

/** The app that the config in this directory names, if there is one: commands about an app default to it. */
export function appInDirectory(directory: string): string | undefined {
  const name = configNames.find((candidate) => existsSync(path.join(directory, candidate)));
  return name === undefined ? undefined : parseAppConfig(readFileSync(path.join(directory, name), "utf8"), name).config.app;
}

function findConfig(directory: string, named: string | undefined): string {
  if (named !== undefined) {
    if (existsSync(named)) return path.resolve(named);
    throw new CliError(`Cannot find config "${named}"`);
  }
  const name = configNames.find((candidate) => existsSync(path.join(directory, candidate)));
  if (name !== undefined) return path.join(directory, name);
  throw new CliError(
    `Cannot find slipway.toml in "${directory}": expected a file with at least\n  app = "my-app"\n  [http_service]\n  internal_port = 8080`,
  );
}

/** What the command line says goes before what the file says. */
export function applyOptions(config: ResolvedAppConfig, options: ProjectOptions): ResolvedAppConfig {
  if (options.app !== undefined && !appNameShape.test(options.app))
    throw new CliError(`Cannot use app name "${options.app}": expected ${appNameRule}`);
  const dockerfile = options.dockerfile ?? config.build.dockerfile;
  if (path.isAbsolute(dockerfile) || dockerfile.split("/").includes(".."))
    throw new CliError(`Cannot use Dockerfile "${dockerfile}": expected a path relative to the source directory, and inside it`);
  const target = options.buildTarget ?? config.build.target;
  const platform = options.platform ?? config.build.platform;
  if (platform !== undefined && !platformShape.test(platform))
    throw new CliError(`Cannot use --platform "${platform}": expected ${platformRule}`);
  return {
    ...config,
    app: options.app ?? config.app,
    env: { ...config.env, ...pairs("--env", options.env ?? []) },
    build: {
      dockerfile: path.posix.normalize(dockerfile),
      ...(target === undefined ? {} : { target }),
      args: { ...config.build.args, ...pairs("--build-arg", options.buildArg ?? []) },
      ...(options.label === undefined ? {} : { labels: pairs("--label", options.label) }),
      ...(platform === undefined ? {} : { platform }),
      ...chooseAttestations(options, config.build),
      ...(options.allow === undefined ? {} : { entitlements: options.allow.map(toEntitlement) }),
    },
  };
}

function toEntitlement(text: string): Entitlement {
  if (isEntitlement(text)) return text;
  throw new CliError(`Cannot allow "${text}": expected ${entitlements.join(" or ")}`);
}

function pairs(option: string, values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.map((value) => {
      const at = value.indexOf("=");
      if (at < 1) throw new CliError(`Cannot read ${option} "${value}": expected NAME=VALUE`);
      return [value.slice(0, at), value.slice(at + 1)];
    }),
  );
}
