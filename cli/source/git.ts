import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

export type Commit = { readonly sha: string; readonly dirty: boolean };

/** The commit that a directory stands at; undefined outside a work tree, before the first commit, or without git. */
export async function readCommit(directory: string, signal: AbortSignal): Promise<Commit | undefined> {
  const git = (...args: string[]) =>
    run("git", ["-C", directory, "--no-optional-locks", ...args], { signal, timeout: 5000, maxBuffer: 64 * 1024 * 1024 });
  try {
    const sha = (await git("rev-parse", "--verify", "HEAD")).stdout.trim();
    const changes = (await git("status", "--porcelain", "--", ".")).stdout;
    return /^[0-9a-f]{40,64}$/.test(sha) ? { sha, dirty: changes !== "" } : undefined;
  } catch (error) {
    signal.throwIfAborted();
    void error;
    return undefined;
  }
}
