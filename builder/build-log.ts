import { createWriteStream } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import path from "node:path";
import { finished } from "node:stream/promises";
import { type RunName, buildLogName } from "../config/build-log-name.ts";
import type { BuildEvent } from "./buildkit/progress.ts";

export type BuildLogEntry =
  | BuildEvent
  | { readonly type: "attempt"; readonly attempt: number; readonly atMs: number }
  /** the attempt broke off through no fault of the source; whether there is another one is the run's to say */
  | { readonly type: "broken off"; readonly attempt: number; readonly reason: string; readonly atMs: number }
  | { readonly type: "end" };

export type BuildLog = AsyncDisposable & { write(entry: BuildLogEntry): void };

/** The logs of this host's builds: one JSONL file for each run, every attempt in it, kept with the run. */
export type BuildLogs = {
  /** Goes on where an earlier attempt of the run left off. */
  open(run: RunName): Promise<BuildLog>;
};

/** `fileOf` says where the log of a given name is. */
export function createBuildLogs(fileOf: (name: string) => string): BuildLogs {
  return {
    async open(run) {
      const file = fileOf(buildLogName(run));
      await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
      const torn = await endsTorn(file);
      const stream = createWriteStream(file, { flags: "a", mode: 0o600 });
      // a full disk costs the log, never the build
      stream.on("error", () => undefined);
      // never valid JSON, and ends as a whole line does: readers pass over it
      if (torn) stream.write("~}\n");
      return {
        write: (entry) => void stream.write(`${JSON.stringify(entry)}\n`),
        [Symbol.asyncDispose]: async () => {
          stream.end();
          await finished(stream).catch(() => undefined);
        },
      };
    },
  };
}

/** A worker that was killed may have left half a line. */
async function endsTorn(file: string): Promise<boolean> {
  try {
    await using handle = await open(file, "r");
    const { size } = await handle.stat();
    if (size === 0) return false;
    const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1);
    return buffer[0] !== 0x0a;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}
