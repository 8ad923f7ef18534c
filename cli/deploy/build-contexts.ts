import { statSync } from "node:fs";
import path from "node:path";
import { imageNameShape } from "../../config/attestations.ts";
import type { Settings } from "../../config/settings.ts";
import type { SourceRef } from "../../workflows/types.ts";
import { CliError } from "../errors.ts";
import { cloneRepository } from "../source/clone.ts";
import { type GitAddress, parseGitAddress, withoutLogin } from "../source/git-address.ts";
import { isInside } from "../source/is-inside.ts";
import { packProject, uploadProject } from "./prepare-source.ts";
import type { Project } from "./project.ts";

/** What a name in the Dockerfile stands for in place of a stage or an image. */
export type BuildContext =
  /** an image or a file over HTTP, as BuildKit takes it */
  { readonly address: string } | { readonly directory: string } | { readonly repository: GitAddress };

export type BuildContexts = Readonly<Record<string, BuildContext>>;

/** As image names are: BuildKit compares them in lower case */
const nameShape = /^[a-z0-9][a-z0-9._/:-]{0,127}$/;
const mostContexts = 16;

export type GivenContexts = {
  /** `NAME=value` of the command line, directories relative to where it was called */
  readonly options: readonly string[];
  /**
   * of `[build.contexts]`, directories relative to the source's and inside it: a source that somebody else wrote must not make this
   * client read what is his user's, neither from his disk nor with his git's credentials
   */
  readonly config: Readonly<Record<string, string>>;
  readonly sourceDirectory: string;
};

/** The command line goes before the config. @throws CliError naming what cannot be used */
export function chooseContexts({ options, config, sourceDirectory }: GivenContexts): BuildContexts {
  const contexts = new Map<string, BuildContext>();
  for (const [name, value] of Object.entries(config)) contexts.set(name, readConfigured(name, value, sourceDirectory));
  for (const option of options) {
    const at = option.indexOf("=");
    if (at < 1)
      throw new CliError(`Cannot read --build-context "${option}": expected NAME=DIRECTORY, NAME=docker-image://IMAGE or NAME=URL`);
    const name = option.slice(0, at).toLowerCase();
    contexts.set(name, readContext(name, option.slice(at + 1), process.cwd()));
  }
  if (contexts.size > mostContexts) throw new CliError(`Cannot use ${contexts.size} build contexts: expected at most ${mostContexts}`);
  return Object.fromEntries(contexts);
}

function readConfigured(name: string, value: string, sourceDirectory: string): BuildContext {
  const context = readContext(name, value, sourceDirectory);
  if ("address" in context || ("directory" in context && isInside(sourceDirectory, context.directory))) return context;
  throw new CliError(
    `Cannot use "${withoutLogin(value)}" of build.contexts: expected an image, a URL of a file or a directory inside the source; name others with --build-context`,
  );
}

function readContext(name: string, value: string, from: string): BuildContext {
  const refuse = (why: string): CliError => new CliError(`Cannot use build context "${name}=${withoutLogin(value)}": ${why}`);
  if (!nameShape.test(name)) throw refuse("expected a name of lower-case letters, digits and . _ - / :");
  const repository = parseGitAddress(value);
  if (repository !== undefined) return { repository };
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(value)?.[1]?.toLowerCase();
  if (scheme === "docker-image") {
    if (imageNameShape.test(value.slice("docker-image://".length)) && value.startsWith("docker-image://")) return { address: value };
    throw refuse("expected docker-image://IMAGE");
  }
  if (scheme === "http" || scheme === "https") {
    const url = URL.parse(value);
    if (url === null) throw refuse("expected a URL");
    if (url.hash !== "") throw refuse("expected the address of a file, or that of a git repository, which ends with .git");
    return { address: value };
  }
  if (scheme !== undefined) throw refuse("expected a directory, docker-image://IMAGE, a git repository or an http or https URL");
  const directory = path.resolve(from, value);
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) throw refuse("there is no such directory");
  return { directory };
}

export type ContextUpload = {
  readonly settings: Settings;
  readonly org: string;
  readonly project: Project;
  readonly warn: (text: string) => void;
};

/** Packs and uploads the directories and repositories among a project's contexts, each as a source of its own. @throws CliError, SourceError */
export async function uploadContexts(upload: ContextUpload, signal: AbortSignal): Promise<Readonly<Record<string, string | SourceRef>>> {
  const uploaded: Record<string, string | SourceRef> = {};
  for (const [name, context] of Object.entries(upload.project.contexts)) {
    if ("address" in context) uploaded[name] = context.address;
    else if ("directory" in context) uploaded[name] = await uploadFolder(name, context.directory, upload, signal);
    else {
      await using clone = await cloneRepository(context.repository, signal);
      uploaded[name] = await uploadFolder(name, clone.directory, upload, signal);
    }
  }
  return uploaded;
}

async function uploadFolder(
  name: string,
  directory: string,
  { settings, org, project, warn }: ContextUpload,
  signal: AbortSignal,
): Promise<SourceRef> {
  const { ignoreFile: _ofTheSource, ...rest } = project;
  const build = { ...project.config.build, dockerfile: "Dockerfile" };
  const folder = { ...rest, directory, config: { ...project.config, build } };
  const packed = await packProject(folder, (text) => warn(`Build context "${name}": ${text}`), signal);
  return (await uploadProject(settings, org, project.config.app, packed, signal)).source;
}
