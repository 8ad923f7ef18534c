import { open } from "node:fs/promises";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import { presentableLine } from "../../config/strip-control.ts";

const tailLimitBytes = 1024 * 1024;

/** The last lines of a machine's log, rotated files included, ready to be shown. */
export async function machineLogTail(settings: Settings, org: string, machineId: string, lines: number): Promise<readonly string[]> {
  return (await readTail(instancePaths.machineLog(settings, org, machineId), lines)).lines;
}

/** The last `lines` lines within the last 1 MiB, and how far into the file they reach. */
export async function readTail(file: string, lines: number): Promise<{ readonly lines: readonly string[]; readonly endBytes: number }> {
  const current = await readEnd(file);
  if (current === undefined) return { lines: [], endBytes: 0 };
  let text = current.text;
  if (current.whole && countLines(text) < lines) text = `${(await readEnd(`${file}.1`))?.text ?? ""}${text}`;
  const all = text.endsWith("\n") ? text.slice(0, -1).split("\n") : text.split("\n");
  return { lines: text === "" || lines <= 0 ? [] : all.slice(-lines).map(presentableLine), endBytes: current.endBytes };
}

async function readEnd(file: string): Promise<{ text: string; whole: boolean; endBytes: number } | undefined> {
  try {
    await using handle = await open(file, "r");
    const { size } = await handle.stat();
    const start = Math.max(0, size - tailLimitBytes);
    const buffer = Buffer.alloc(size - start);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, start);
    return { text: buffer.subarray(0, bytesRead).toString("utf8"), whole: start === 0, endBytes: start + bytesRead };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

const countLines = (text: string): number => text.split("\n").length - 1;
