import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** TypeScript in the checkout, JavaScript below `dist` in a packed install: the very kind of this file. */
const here = fileURLToPath(import.meta.url);
const extension = path.extname(here);
export const isCheckout = extension === ".ts";
/** the checkout, or `dist` */
export const codeDir = path.dirname(path.dirname(here));

/** The command that runs a module of ours, named without extension: `registry/main`. */
export function entryPoint(module: string): [string, string] {
  const ours = path.join(codeDir, "node_modules", ".bin", "node");
  // packages installed without their scripts lack it: the Node that runs this file does as well
  return [isCheckout && existsSync(ours) ? ours : process.execPath, path.join(codeDir, `${module}${extension}`)];
}
