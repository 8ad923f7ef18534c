import { existsSync, statSync } from "node:fs";
import path from "node:path";

/**
 * The folders at and above `dir` that other users cannot pass through. Machines run as other users and reach their root filesystem
 * through all of them; runc only says "remount-propagation ... permission denied".
 */
export function closedFolders(dir: string): string[] {
  const folders: string[] = [];
  for (let folder = path.resolve(dir); ; folder = path.dirname(folder)) {
    folders.push(folder);
    if (folder === path.dirname(folder)) break;
  }
  return folders.filter((folder) => existsSync(folder) && (statSync(folder).mode & 0o001) === 0).toReversed();
}
