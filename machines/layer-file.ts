import { constants } from "node:fs";
import { lstat, open } from "node:fs/promises";
import path from "node:path";
import type { Mount } from "../proto/gen/types/mount_pb.ts";
import { MachineError } from "./errors.ts";

const limitBytes = 1024 * 1024;

/**
 * A small file of an image, read from the layers' folders without mounting them: topmost layer first, symbolic links never followed,
 * regular files of at most 1 MiB only (CVE-2026-47262). Undefined when the image has none.
 * @throws MachineError USER_INVALID when it is anything else.
 */
export async function readLayerFile(mounts: readonly Mount[], file: string): Promise<string | undefined> {
  for (const dir of layerDirs(mounts)) {
    const found = await readBeneath(dir, file);
    if (found === "whiteout") return undefined;
    if (found !== undefined) return found.text;
  }
  return undefined;
}

/** Topmost first. */
export function layerDirs(mounts: readonly Mount[]): readonly string[] {
  const mount = mounts[0];
  if (mount === undefined) return [];
  if (mount.type === "bind") return [mount.source];
  const lower = mount.options.find((option) => option.startsWith("lowerdir="))?.slice("lowerdir=".length);
  const upper = mount.options.find((option) => option.startsWith("upperdir="))?.slice("upperdir=".length);
  return [...(upper === undefined ? [] : [upper]), ...(lower === undefined ? [] : lower.split(":"))];
}

async function readBeneath(dir: string, file: string): Promise<{ text: string } | "whiteout" | undefined> {
  const parts = file.split("/").filter(Boolean);
  let current = dir;
  for (const [index, part] of parts.entries()) {
    current = path.join(current, part);
    const stat = await lstat(current).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (stat === undefined) return undefined;
    if (stat.isCharacterDevice() && stat.rdev === 0) return "whiteout";
    const last = index === parts.length - 1;
    if (last ? !stat.isFile() : !stat.isDirectory()) throw refused(file, "expected a regular file in regular folders");
    if (last && stat.size > limitBytes) throw refused(file, `${stat.size} bytes, at most ${limitBytes} are read`);
  }
  await using handle = await open(current, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const buffer = Buffer.alloc(limitBytes);
  const { bytesRead } = await handle.read(buffer, 0, limitBytes, 0);
  return { text: buffer.subarray(0, bytesRead).toString("utf8") };
}

function refused(file: string, why: string): MachineError {
  return new MachineError("USER_INVALID", `Cannot look up USER in the image's "${file}": ${why}`);
}
