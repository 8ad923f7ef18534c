import { access, constants } from "node:fs/promises";
import path from "node:path";
import { debianPackages, type ToolGroup } from "./recipes.ts";
import { runCommand, ToolError } from "./run-command.ts";

/** The Debian packages that `dpkg` does not list as installed. */
export async function missingDebianPackages(groups: readonly ToolGroup[], signal: AbortSignal): Promise<string[]> {
  const wanted = [...new Set(["runtime" as const, ...groups].flatMap((group) => debianPackages[group]))];
  const listing = await runCommand(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"], { signal });
  const installed = new Set(
    listing
      .split("\n")
      .filter((line) => line.endsWith(" installed"))
      .map((line) => line.split(" ")[0]),
  );
  const providers: Readonly<Record<string, string>> = { "pkg-config": "pkgconf" };
  return wanted.filter((name) => !installed.has(name) && !installed.has(providers[name]));
}

/** Installs by apt-get as root; otherwise says which command to run. */
export async function installDebianPackages(packages: readonly string[], signal: AbortSignal): Promise<void> {
  const install = ["apt-get", "install", "-y", "--no-install-recommends", ...packages] as const;
  if (process.getuid?.() !== 0) {
    throw new ToolError(`Cannot install Debian packages as this user; run: sudo apt-get update && sudo ${install.join(" ")}`);
  }
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const locked = ["apt-get", "-o", "DPkg::Lock::Timeout=300", ...install.slice(1)] as const;
  try {
    await runCommand([...locked], { env, signal });
  } catch {
    signal.throwIfAborted();
    await runCommand(["apt-get", "update", "-q"], { env, signal });
    await runCommand([...locked], { env, signal });
  }
}

type Requirement = {
  readonly needs: "go" | "wheel";
  readonly command: string;
  readonly probe: readonly [string, ...string[]];
  readonly hint: string;
};

const requirements: readonly Requirement[] = [
  {
    needs: "go",
    command: "go",
    probe: ["go", "version"],
    hint: "install Go 1.26 or newer: https://go.dev/doc/install, and put its bin folder on PATH",
  },
  { needs: "wheel", command: "python3 pip", probe: ["python3", "-m", "pip", "--version"], hint: "run: apt-get install python3-pip" },
];

/** @throws ToolError naming everything that is missing at once, and how to get it. */
export async function checkRequirements(kinds: ReadonlySet<"go" | "wheel">, signal: AbortSignal): Promise<void> {
  const missing: string[] = [];
  for (const { needs, command, probe, hint } of requirements) {
    if (!kinds.has(needs)) continue;
    const works = await runCommand(probe, { signal }).then(
      () => true,
      () => false,
    );
    if (!works) missing.push(`  "${command}" is missing; ${hint}`);
  }
  if (missing.length > 0) throw new ToolError(`Cannot install the tools:\n${missing.join("\n")}`);
}

/** Debian's sbin folders are not on every user's PATH, and nft and ip live there. */
export async function findCommand(name: string): Promise<string | undefined> {
  const dirs = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
  for (const dir of dirs) {
    const file = path.join(dir, name);
    const found = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return file;
  }
  return undefined;
}
