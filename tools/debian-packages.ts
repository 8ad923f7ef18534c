import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { aptFailure, installCommand, lockHolder } from "./apt-failure.ts";
import { debianPackages, type ToolGroup } from "./recipes.ts";
import { runCommand, ToolError } from "./run-command.ts";

export type DebianPackagesOptions = {
  readonly groups: readonly ToolGroup[];
  /** one line at a time, without newline */
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
};

/** Installs what is missing of the packages that the groups need. @throws ToolError saying what failed and which command comes next */
export async function ensureDebianPackages({ groups, progress, signal }: DebianPackagesOptions): Promise<void> {
  const packages = await missingDebianPackages(groups, signal);
  if (packages.length === 0) return;
  if (process.getuid?.() !== 0) {
    throw new ToolError(
      `Cannot install Debian packages as this user; missing: ${packages.join(" ")}; run: ${installCommand(packages, "sudo ")}`,
    );
  }
  progress(`installing Debian packages: ${packages.join(" ")}`);
  await installDebianPackages(packages, progress, signal);
}

/** The packages of the groups that `dpkg` does not list as installed. @throws ToolError where there is no `dpkg` */
export async function missingDebianPackages(groups: readonly ToolGroup[], signal: AbortSignal): Promise<string[]> {
  const wanted = [...new Set(["runtime" as const, ...groups].flatMap((group) => debianPackages[group]))];
  const listing = await dpkgListing(wanted, signal);
  const installed = new Set(
    listing
      .split("\n")
      .filter((line) => line.endsWith(" installed"))
      .map((line) => line.split(" ")[0]),
  );
  const providers: Readonly<Record<string, string>> = { "pkg-config": "pkgconf" };
  return wanted.filter((name) => !installed.has(name) && !installed.has(providers[name]));
}

async function dpkgListing(wanted: readonly string[], signal: AbortSignal): Promise<string> {
  try {
    return await runCommand(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"], { signal });
  } catch (cause) {
    if (((cause as Error).cause as NodeJS.ErrnoException | undefined)?.code !== "ENOENT") throw cause;
    const found = /^PRETTY_NAME="?([^"\n]*)/m.exec(await readFile("/etc/os-release", "utf8").catch(() => ""))?.[1] ?? "another system";
    throw new ToolError(
      `Cannot look for the packages ${wanted.join(" ")}: this is ${found}, which has no "dpkg-query"; expected Debian 12 or 13, or Ubuntu 22.04 or 24.04`,
      { cause },
    );
  }
}

const lockTimeoutMs = 10 * 60_000;
const lockPauseMs = 2_000;

async function installDebianPackages(
  packages: readonly string[],
  progress: DebianPackagesOptions["progress"],
  signal: AbortSignal,
): Promise<void> {
  const install = ["install", "-y", "--no-install-recommends", ...packages];
  const first = await apt(install, progress, signal);
  if (first === undefined) return;
  // of a machine that never had them, or has old ones, the package lists are to blame; a third party's that fails is not
  const update = await apt(["-o", "APT::Update::Error-Mode=any", "update", "-q"], progress, signal);
  const second = await apt(install, progress, signal);
  if (second !== undefined)
    throw new ToolError(aptFailure({ packages, update: update?.message, install: second.message }), { cause: second });
}

/** Waits for other programs that use apt, as a machine that has just booted does by itself. Answers what went wrong. */
async function apt(
  args: readonly string[],
  progress: DebianPackagesOptions["progress"],
  signal: AbortSignal,
): Promise<ToolError | undefined> {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", NEEDRESTART_SUSPEND: "1", LC_ALL: "C.UTF-8" };
  const deadlineMs = Date.now() + lockTimeoutMs;
  let told = false;
  for (;;) {
    try {
      await runCommand(["apt-get", ...args], { env, signal });
      return undefined;
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      const holder = lockHolder(error.message);
      if (holder === undefined || Date.now() > deadlineMs) return error;
      if (!told) progress(`waiting for ${holder}, which uses apt`);
      told = true;
      await sleep(lockPauseMs, undefined, { signal });
    }
  }
}
