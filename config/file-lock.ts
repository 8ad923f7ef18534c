import { randomUUID } from "node:crypto";
import { link, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isRunning, type ProcessIdentity, processIdentitySchema, thisProcess } from "./process-identity.ts";

export type FileLock = AsyncDisposable & { readonly file: string };

/**
 * Waits until this process alone holds `file`. The file names its holder, so the lock of a dead process is taken over.
 * @param onWait called once, with the holder, when another process has the lock
 */
export async function lockFile(file: string, onWait: (holder: ProcessIdentity) => void, signal: AbortSignal): Promise<FileLock> {
  await mkdir(path.dirname(file), { recursive: true });
  const self = JSON.stringify({ ...thisProcess(), nonce: randomUUID() });
  let told = false;
  for (;;) {
    signal.throwIfAborted();
    if (await create(file, self)) return { file, [Symbol.asyncDispose]: () => release(file, self) };
    const held = await readFile(file, "utf8").catch(() => undefined);
    if (held === undefined) continue;
    const holder = parseHolder(held);
    if (holder === undefined || !isRunning(holder)) {
      await takeAway(file, held);
      continue;
    }
    if (!told) onWait(holder);
    told = true;
    await sleep(200, undefined, { signal });
  }
}

/** By link(2): the lock appears together with its holder's name. */
async function create(file: string, content: string): Promise<boolean> {
  const own = `${file}.${randomUUID()}`;
  await writeFile(own, content, { mode: 0o600 });
  try {
    await link(own, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    await rm(own, { force: true });
  }
}

/** Removes the lock seen as stale, and only that: a lock taken meanwhile by another is put back. */
async function takeAway(file: string, stale: string): Promise<void> {
  const aside = `${file}.${randomUUID()}`;
  try {
    await rename(file, aside);
  } catch {
    return;
  }
  const moved = await readFile(aside, "utf8");
  if (moved !== stale) await link(aside, file).catch(() => undefined);
  await rm(aside, { force: true });
}

async function release(file: string, self: string): Promise<void> {
  const held = await readFile(file, "utf8").catch(() => undefined);
  if (held === self) await rm(file, { force: true });
}

function parseHolder(text: string): ProcessIdentity | undefined {
  try {
    return processIdentitySchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
