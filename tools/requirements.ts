import { access, constants } from "node:fs/promises";
import path from "node:path";
import { runCommand, ToolError } from "./run-command.ts";

const goHint = "install Go 1.26 or newer: https://go.dev/doc/install, and put its bin folder on PATH";
/** From here on `go` fetches by itself the release that go.mod asks for. */
const leastGoMinor = 21;

/** The release of the `go` on PATH. @throws ToolError saying what was found, what is expected and how to get it. */
export async function requireGo(signal: AbortSignal): Promise<string> {
  const found = await runCommand(["go", "env", "GOVERSION"], { cwd: "/", env: { ...process.env, GOTOOLCHAIN: "local" }, signal }).catch(
    (cause: unknown) => {
      signal.throwIfAborted();
      throw new ToolError(`"go" is missing; ${goHint}`, { cause });
    },
  );
  const release = found.trim().replace(/^go/, "");
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  // a build of one's own ("devel …") passes
  if (Number(major) === 1 && Number(minor) < leastGoMinor) throw new ToolError(`"go" is ${release}, expected 1.26 or newer; ${goHint}`);
  return release;
}

async function requirePip(signal: AbortSignal): Promise<void> {
  await runCommand(["python3", "-m", "pip", "--version"], { signal }).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new ToolError(`"python3 -m pip" is missing; run: apt-get install python3-pip`, { cause });
  });
}

const requirements = { go: requireGo, wheel: requirePip } as const;

/** @throws ToolError naming everything that is missing at once, and how to get it. */
export async function checkRequirements(what: string, kinds: ReadonlySet<keyof typeof requirements>, signal: AbortSignal): Promise<void> {
  const missing: string[] = [];
  for (const kind of kinds) {
    try {
      await requirements[kind](signal);
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      missing.push(`  ${error.message}`);
    }
  }
  if (missing.length > 0) throw new ToolError(`${what}:\n${missing.join("\n")}`);
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
