import { readFile } from "node:fs/promises";
import { z } from "zod";
import { writeFileAtomic } from "../../config/write-file-atomic.ts";

const times = z.object({ totalMs: z.number(), wakeMs: z.number(), buildAndPushMs: z.number(), pullMs: z.number() });
const path = z.object({ first: z.array(times), redeploy: z.array(times) });
const cellResult = z.object({
  sizeMb: z.number(),
  roundTripMs: z.number(),
  linkMbit: z.number(),
  /** rounds of the direct path that ran side by side, each over a link of its own */
  lanes: z.number(),
  direct: path,
  mirror: path,
});
const resultFile = z.object({ machine: z.record(z.string(), z.unknown()), cells: z.record(z.string(), cellResult) });

export type CellResult = z.infer<typeof cellResult>;
export type Results = z.infer<typeof resultFile>;

/** What an earlier run has written there, to go on with; undefined when there is none. */
export async function readResults(file: string): Promise<Results | undefined> {
  try {
    return resultFile.parse(JSON.parse(await readFile(file, "utf8")));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

export async function writeResults(file: string, results: Results): Promise<void> {
  await writeFileAtomic(file, `${JSON.stringify(results, undefined, 2)}\n`);
}
