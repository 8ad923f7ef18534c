import path from "node:path";

/** Whether a relative symlink leads out of the tree that `name` is relative to; both are written with "/". */
export function leadsOut(name: string, target: string): boolean {
  const reached = path.posix.normalize(path.posix.join(path.posix.dirname(name), target));
  return reached === ".." || reached.startsWith("../");
}
