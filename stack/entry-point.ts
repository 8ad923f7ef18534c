import path from "node:path";
import { fileURLToPath } from "node:url";

/** TypeScript in the checkout, JavaScript below `dist` in a packed install: the very kind of this file. */
const here = fileURLToPath(import.meta.url);
const extension = path.extname(here);
/** the checkout, or `dist` */
export const codeDir = path.dirname(path.dirname(here));

/** The command that runs a module of ours, named without extension: `registry/main`. */
export function entryPoint(module: string): [string, string] {
  const node = extension === ".ts" ? path.join(codeDir, "node_modules", ".bin", "node") : process.execPath;
  return [node, path.join(codeDir, `${module}${extension}`)];
}
