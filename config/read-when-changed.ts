import { stat } from "node:fs/promises";

/** What `read` makes of a file that is there or not, and is replaced as a whole: made again once it is another one, or after a failure. */
export function readWhenChanged<T>(file: string, read: () => Promise<T>): () => Promise<T> {
  let last: { readonly version: string; readonly value: Promise<T> } | undefined;
  return async () => {
    const version = await stat(file, { bigint: true }).then(
      ({ ino, mtimeNs, size }) => `${ino}/${mtimeNs}/${size}`,
      () => "none",
    );
    if (last?.version !== version) last = { version, value: read() };
    try {
      return await last.value;
    } catch (error) {
      last = undefined;
      throw error;
    }
  };
}
