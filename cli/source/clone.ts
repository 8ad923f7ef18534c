import { execFile } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { SourceError } from "./errors.ts";
import { type GitAddress, withoutLogin } from "./git-address.ts";
import { isInside } from "./is-inside.ts";

/** What a repository holds at one commit, in a temporary folder; disposing removes it. */
export type Clone = AsyncDisposable & { readonly directory: string };

const run = promisify(execFile);

/**
 * Fetches one commit of a repository with its submodules, by the user's own git and with the user's own credentials.
 * @throws SourceError with git's last words, or the signal's reason
 */
export async function cloneRepository(address: GitAddress, signal: AbortSignal): Promise<Clone> {
  const folder = await mkdtemp(path.join(tmpdir(), "slipway-git-"));
  const dispose = () => rm(folder, { recursive: true, force: true });
  try {
    const root = path.join(folder, nameOf(address.url));
    const { url, config } = withoutSecret(address.url);
    const git = gitIn(root, config, signal);
    await gitIn(folder, {}, signal)("init", "--quiet", "--template=", root);
    // submodules may be named relative to it
    await git("config", "remote.origin.url", url);
    await checkOut(git, address);
    if (existsSync(path.join(root, ".gitmodules"))) await git("submodule", "--quiet", "update", "--init", "--recursive");
    return { directory: folderOf(root, address), [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    signal.throwIfAborted();
    if (error instanceof SourceError) throw error;
    // without its cause, which names the whole command
    throw new SourceError(`Cannot clone "${withoutLogin(address.url)}": ${lastWords(error)}`);
  }
}

type Git = (...args: string[]) => Promise<string>;

/** `config` goes by the environment: it is in no file and no process's arguments. */
function gitIn(directory: string, config: Readonly<Record<string, string>>, signal: AbortSignal): Git {
  // a hook of git's that calls us names its own repository in these
  const { GIT_DIR: _dir, GIT_WORK_TREE: _tree, GIT_INDEX_FILE: _index, ...environment } = process.env;
  const env = {
    ...environment,
    ...configured(environment, config),
    LC_ALL: "C",
    // asked for a password where nobody is, git would wait for ever
    ...(process.stdin.isTTY ? {} : { GIT_TERMINAL_PROMPT: "0" }),
  };
  return async (...args) => (await run("git", ["-C", directory, ...args], { signal, env, maxBuffer: 16 * 1024 * 1024 })).stdout.trim();
}

/** Behind what the user's own environment configures in this way. */
function configured(environment: NodeJS.ProcessEnv, config: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const first = Number(environment.GIT_CONFIG_COUNT ?? 0);
  const entries = Object.entries(config);
  const pairs = entries.flatMap(([key, value], at) => [
    [`GIT_CONFIG_KEY_${first + at}`, key] as const,
    [`GIT_CONFIG_VALUE_${first + at}`, value] as const,
  ]);
  return { ...Object.fromEntries(pairs), GIT_CONFIG_COUNT: String(first + entries.length) };
}

/** The one commit alone where the server gives it away by that name; else all there is, in which it is looked for. */
async function checkOut(git: Git, { url, ref = "HEAD" }: GitAddress): Promise<void> {
  const alone = await git("fetch", "--quiet", "--no-tags", "--depth=1", "origin", ref).then(
    () => true,
    () => false,
  );
  if (alone) return void (await git("checkout", "--quiet", "--detach", "FETCH_HEAD"));
  await git("fetch", "--quiet", "origin", "HEAD", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*");
  const names = ref === "HEAD" ? ["FETCH_HEAD"] : [`refs/remotes/origin/${ref}`, `refs/tags/${ref}`, ref];
  for (const name of names) {
    const commit = await git("rev-parse", "--verify", "--quiet", `${name}^{commit}`).catch(() => undefined);
    if (commit !== undefined) return void (await git("checkout", "--quiet", "--detach", commit));
  }
  throw new SourceError(`Cannot find "${ref}" in "${withoutLogin(url)}": expected a branch, tag or commit`);
}

/** What is packed of a clone may hold its `.git`: a password must not be in there. */
function withoutSecret(address: string): { readonly url: string; readonly config: Readonly<Record<string, string>> } {
  const url = /^https?:/.test(address) ? URL.parse(address) : null;
  if (url === null || (url.username === "" && url.password === "")) return { url: address, config: {} };
  const login = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = url.password = "";
  const header = `Authorization: Basic ${Buffer.from(login).toString("base64")}`;
  return { url: url.href, config: { [`http.${url.origin}/.extraHeader`]: header } };
}

function folderOf(root: string, { url, subdir = "." }: GitAddress): string {
  const folder = path.join(root, subdir);
  // a symlink of the repository must not lead out of it
  if (existsSync(folder) && isInside(root, folder) && statSync(folder).isDirectory()) return folder;
  throw new SourceError(`Cannot find folder "${subdir}" in "${withoutLogin(url)}"`);
}

const nameOf = (url: string): string => /([A-Za-z0-9._-]+?)(?:\.git)?\/?$/.exec(url)?.[1]?.replace(/^\.+/, "") || "source";

function lastWords(error: unknown): string {
  if ((error as NodeJS.ErrnoException).code === "ENOENT") return "git is not installed";
  const lines = ((error as { stderr?: string }).stderr ?? String(error)).trim().split("\n");
  return withoutLogin(lines.findLast((line) => /^(fatal|error):/.test(line)) ?? lines.at(-1) ?? "");
}
