/** Who holds one of apt's locks, when that is why `apt-get` failed: `process 812 (unattended-upgr)`. */
export function lockHolder(said: string): string | undefined {
  if (!/Could not get lock|Unable to (acquire|lock)/.test(said)) return undefined;
  return /held by (process \d+(?: \([^)]*\))?)/.exec(said)?.[1] ?? "another program";
}

export type AptAttempts = {
  readonly packages: readonly string[];
  /** what `apt-get update` said before it failed, in apt's untranslated words */
  readonly update: string | undefined;
  /** what `apt-get install` said after that */
  readonly install: string;
};

/** What failed, why, and the next command. The lists come first: without them apt says of every package that it does not know it. */
export function aptFailure({ packages, update, install }: AptAttempts): string {
  const again = installCommand(packages);
  const because = (reason: string, next: string) => `Cannot install the Debian packages ${packages.join(" ")}: ${reason}; ${next}`;
  const holder = lockHolder(install);
  if (holder !== undefined) return because(`${holder} has used apt for 10 minutes`, `wait for its end, then run: ${again}`);
  if (install.includes("dpkg --configure -a")) return because("dpkg was interrupted before", `run: dpkg --configure -a && ${again}`);
  const unknown = unknownPackages(install);
  if (unknown.length > 0 && update === undefined) {
    const names = unknown.map((name) => `"${name}"`).join(", ");
    return because(
      `apt knows no ${names}`,
      `look at /etc/apt/sources.list (Debian needs main, Ubuntu main and universe), then run: ${again}`,
    );
  }
  const unreachable = [install, update ?? ""].map(fetchError).find((line) => line !== undefined);
  if (unreachable !== undefined)
    return because(unreachable, `look at the network, http_proxy and /etc/apt/sources.list, then run: ${again}`);
  return because(`apt-get failed\n${install}${update === undefined ? "" : `\n${update}`}\n`, `run: ${again}`);
}

function unknownPackages(said: string): string[] {
  const found = said.matchAll(/Unable to locate package (\S+)|Package '?([^\s']+)'? has no installation candidate/g);
  return [...new Set([...found].map(([, unlocated, withoutCandidate]) => unlocated ?? withoutCandidate!))];
}

function fetchError(said: string): string | undefined {
  const line = said.split("\n").find((text) => /^\s*[EW]: Failed to fetch |^\s*[EW]: The repository /.test(text));
  return line?.trim().replace(/^[EW]: (\S)/, (_, letter: string) => letter.toLowerCase());
}

/** What an operator types to get the packages. */
export function installCommand(packages: readonly string[], sudo: "" | "sudo " = ""): string {
  return `${sudo}apt-get update && ${sudo}apt-get install -y --no-install-recommends ${packages.join(" ")}`;
}
