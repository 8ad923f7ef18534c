import { realpathSync } from "node:fs";

/** Whether a path is a folder or something in it, wherever symlinks lead. @throws ErrnoException when one of them is not there */
export const isInside = (folder: string, name: string): boolean => `${realpathSync(name)}/`.startsWith(`${realpathSync(folder)}/`);
