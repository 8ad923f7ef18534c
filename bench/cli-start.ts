import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { median, rounded, spread } from "./median.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const slipway = path.join(root, "cli", "slipway.mjs");

/** `slipway --help` as a whole process, beside a Node that does nothing, in turn. */
export async function run(args: readonly string[]): Promise<Record<string, unknown>> {
  const runs = Number(args[0] ?? 21);
  const times = { help: [] as number[], version: [] as number[], node: [] as number[] };
  const commands = { help: [slipway, "--help"], version: [slipway, "version"], node: ["-e", ""] };
  for (let index = -1; index < runs; index++) {
    for (const [name, argv] of Object.entries(commands)) {
      const startedAt = performance.now();
      const { status } = spawnSync("node", argv, { stdio: "ignore" });
      const tookMs = performance.now() - startedAt;
      if (status !== 0) throw new Error(`node ${argv.join(" ")} ended with ${status}`);
      if (index >= 0) times[name as keyof typeof times].push(tookMs);
    }
  }
  const ratio = rounded(median(times.help) / median(times.node), 2);
  return {
    helpMs: spread(times.help),
    versionMs: spread(times.version),
    bareNodeMs: spread(times.node),
    helpToBareNode: ratio,
    aimMs: 150,
  };
}
