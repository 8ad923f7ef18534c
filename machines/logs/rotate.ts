import { copyFile, readdir, rename, stat, truncate } from "node:fs/promises";
import path from "node:path";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";

export type RotationLimits = { readonly maxBytes: number; readonly keep: number };

const limits: RotationLimits = { maxBytes: 10 * 1024 * 1024, keep: 3 };
const intervalMs = 5000;

/** Keeps the machines' logs from filling the disk, until it is disposed. */
export function startLogRotation(settings: Settings, onError: (error: unknown) => void): Disposable {
  const timer = setInterval(() => void rotateMachineLogs(settings, limits).catch(onError), intervalMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

export async function rotateMachineLogs(settings: Settings, { maxBytes, keep }: RotationLimits = limits): Promise<void> {
  const root = path.dirname(path.dirname(instancePaths.machineLog(settings, "org", "id")));
  for (const org of await readdir(root).catch(() => [])) {
    for (const name of await readdir(path.join(root, org))) {
      if (name.endsWith(".log")) await rotateLog(path.join(root, org, name), { maxBytes, keep });
    }
  }
}

/** The shim holds the file open and appends, so it is copied and cut; what is written in between is lost. Answers whether it was. */
export async function rotateLog(file: string, { maxBytes, keep }: RotationLimits): Promise<boolean> {
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size <= maxBytes) return false;
  for (let number = keep - 1; number >= 1; number--) {
    await rename(`${file}.${number}`, `${file}.${number + 1}`).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
  }
  await copyFile(file, `${file}.1`);
  await truncate(file, 0);
  return true;
}
