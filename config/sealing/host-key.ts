import { type KeyObject, createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID } from "node:crypto";
import { link, mkdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { instancePaths } from "../paths.ts";
import type { Settings } from "../settings.ts";
import { writeFileAtomic } from "../write-file-atomic.ts";

/** What is sealed for this host is opened with it; made when there is none. Only its owner reads the file. */
export async function ensureHostKey(settings: Settings): Promise<KeyObject> {
  const file = instancePaths.hostKey(settings);
  const found = await readFile(file, "utf8").catch(() => makeKey(file));
  const key = createPrivateKey(found);
  const publicText = createPublicKey(key).export({ type: "spki", format: "pem" });
  await writeFileAtomic(instancePaths.hostPublicKey(settings), publicText, 0o644);
  return key;
}

/** @throws Error when the host's worker has not run yet. */
export async function readHostPublicKey(settings: Settings): Promise<KeyObject> {
  return createPublicKey(await readFile(instancePaths.hostPublicKey(settings), "utf8"));
}

/** The first of several that make one at the same time wins, and all answer that one's. */
async function makeKey(file: string): Promise<string> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const made = `${file}.${randomUUID()}`;
  await writeFileAtomic(made, generateKeyPairSync("x25519").privateKey.export({ type: "pkcs8", format: "pem" }));
  await link(made, file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  await rm(made, { force: true });
  return readFile(file, "utf8");
}
