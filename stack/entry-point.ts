import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** TypeScript in the checkout, JavaScript below `dist` in a packed install: the very kind of this file. */
const here = fileURLToPath(import.meta.url);
const extension = path.extname(here);
export const isCheckout = extension === ".ts";
/** the checkout, or `dist` */
export const codeDir = path.dirname(path.dirname(here));

/**
 * The chunks of a body are a few bytes of JavaScript and 64 KiB outside of its heap: a small young generation is collected before many of
 * those have gathered. Seen: some 40 MiB less at 16 pushes at once, and no more CPU time. The mirror gives those 64 KiB back by itself;
 * there it keeps the young generation from growing for want of a reason to collect it.
 */
const nodeFlags: Readonly<Record<string, readonly string[]>> = {
  "registry/main": ["--max-semi-space-size=1"],
  "mirror/main": ["--max-semi-space-size=4"],
};

/** The command that runs a module of ours, named without extension: `registry/main`. */
export function entryPoint(module: string): [string, ...string[]] {
  const ours = path.join(codeDir, "node_modules", ".bin", "node");
  // packages installed without their scripts lack it: the Node that runs this file does as well
  const node = isCheckout && existsSync(ours) ? ours : process.execPath;
  return [node, ...(nodeFlags[module] ?? []), path.join(codeDir, `${module}${extension}`)];
}
