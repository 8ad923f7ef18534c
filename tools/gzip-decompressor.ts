import { findCommand } from "./requirements.ts";
import { runCommand, ToolError } from "./run-command.ts";

/** Programs that containerd unpacks gzip with when its PATH has one, in its order of preference, and their Debian packages. */
const decompressors = { igzip: "isal", unpigz: "pigz" } as const;
const preferred = "isal";
const timeoutMs = 60_000;

/** The file that containerd will use; undefined: it uses its own code, which takes more than twice as long. */
export async function findGzipDecompressor(): Promise<string | undefined> {
  for (const name of Object.keys(decompressors)) {
    const file = await findCommand(name);
    if (file !== undefined) return file;
  }
  return undefined;
}

/** Installs one if there is none. That it cannot be is told and is no error: images are the same without. */
export async function ensureGzipDecompressor(progress: (line: string) => void, signal: AbortSignal): Promise<void> {
  if ((await findGzipDecompressor()) !== undefined || process.getuid?.() !== 0) return;
  progress(`installing Debian package: ${preferred}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", NEEDRESTART_SUSPEND: "1", LC_ALL: "C.UTF-8" };
  // with apt busy or the network away this must not hold up a start
  const patience = ["-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::https::Timeout=10"];
  const either = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  try {
    await runCommand(["apt-get", ...patience, "install", "-y", "--no-install-recommends", preferred], { env, signal: either });
  } catch (error) {
    signal.throwIfAborted();
    const reason = error instanceof ToolError ? error.message.split("\n").at(-1)!.trim() : (error as Error).message;
    progress(`gzip layers will be unpacked slowly: cannot install "${preferred}" (${reason}); later: apt-get install ${preferred}`);
  }
}
