import { toStderr } from "../output.ts";

/** Lines of progress on stderr, unless they are not wanted. */
export const progressOf =
  (options: { readonly quiet?: boolean }) =>
  (line: string): void => {
    if (options.quiet !== true) toStderr(`--> ${line}\n`);
  };
