import { open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

const pollMs = 100;
const chunkBytes = 64 * 1024;

/**
 * The bytes of a growing file from `from` on. A file that is not there yet is waited for; one that was cut (rotation) is read from its
 * start. Without `follow` it ends with the file.
 */
export async function* followFile(
  file: string,
  options: { readonly from: number; readonly follow: boolean; readonly signal: AbortSignal },
): AsyncGenerator<Buffer> {
  let offset = options.from;
  for (;;) {
    options.signal.throwIfAborted();
    const chunk = await readChunk(file, offset);
    if (chunk === "cut") offset = 0;
    else if (chunk !== undefined && chunk.length > 0) {
      offset += chunk.length;
      yield chunk;
    } else if (options.follow) await delay(pollMs, undefined, { signal: options.signal });
    else return;
  }
}

async function readChunk(file: string, offset: number): Promise<Buffer | "cut" | undefined> {
  try {
    await using handle = await open(file, "r");
    if ((await handle.stat()).size < offset) return "cut";
    const buffer = Buffer.alloc(chunkBytes);
    const { bytesRead } = await handle.read(buffer, 0, chunkBytes, offset);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Cuts bytes into lines; a last line without newline is held back until more comes or the source ends, a very long one is passed on. */
export async function* linesOf(bytes: AsyncIterable<Buffer>, limitBytes: number): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of bytes) {
    rest = Buffer.concat([rest, chunk]);
    for (let at = rest.indexOf(10); at >= 0; at = rest.indexOf(10)) {
      yield rest.subarray(0, at).toString("utf8");
      rest = rest.subarray(at + 1);
    }
    if (rest.length > limitBytes) {
      yield rest.toString("utf8");
      rest = Buffer.alloc(0);
    }
  }
  if (rest.length > 0) yield rest.toString("utf8");
}
