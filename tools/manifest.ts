import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { z } from "zod";

const manifestSchema = z.object({
  key: z.string(),
  files: z.array(z.object({ path: z.string(), sizeBytes: z.number(), mtimeMs: z.number(), sha256: z.string() })),
});

const manifestFile = (dir: string) => path.join(dir, "manifest.json");

/** Written last: a tool's folder without it is not there. */
export async function writeManifest(dir: string, key: string): Promise<void> {
  const files = [];
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    const { size, mtimeMs } = await stat(file);
    files.push({ path: path.relative(dir, file), sizeBytes: size, mtimeMs, sha256: await sha256OfFile(file) });
  }
  await writeFile(manifestFile(dir), JSON.stringify({ key, files }, undefined, 2));
}

/** Whether a tool's folder holds what was built: by size and time of each file, and by its hash where the time differs. */
export async function isIntact(dir: string): Promise<boolean> {
  try {
    const { files } = manifestSchema.parse(JSON.parse(await readFile(manifestFile(dir), "utf8")));
    for (const expected of files) {
      const file = path.join(dir, expected.path);
      const found = await stat(file);
      if (found.size !== expected.sizeBytes) return false;
      if (found.mtimeMs !== expected.mtimeMs && (await sha256OfFile(file)) !== expected.sha256) return false;
    }
    return files.length > 0;
  } catch {
    return false;
  }
}

async function sha256OfFile(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}
