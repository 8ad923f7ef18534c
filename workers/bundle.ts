import { createHash } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type WorkflowBundle, bundleWorkflowCode } from "@temporalio/worker";
import type { TemporalPlugin } from "../config/tracing/process-tracing.ts";
import { writeFileAtomic } from "../config/write-file-atomic.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const extension = path.extname(fileURLToPath(import.meta.url));

/** Every folder whose code can end up in the bundle. */
const bundled = ["workflows", "oci"] as const;

/** The workflow code as one script. Bundling takes a second, so the last bundle is kept and used again while its sources are the same. */
export async function bundleWorkflows(dataDir: string, plugins: readonly TemporalPlugin[] = []): Promise<WorkflowBundle> {
  const traced = plugins.length > 0 ? "-traced" : "";
  const file = path.join(dataDir, "cache", `workflows-${await sourceDigest()}${traced}.js`);
  const kept = await readFile(file, "utf8").catch(() => undefined);
  if (kept !== undefined) return { code: kept };

  const bundle = await bundleWorkflowCode({ workflowsPath: path.join(root, "workflows", `index${extension}`), plugins: [...plugins] });
  await writeFileAtomic(file, bundle.code);
  return bundle;
}

async function sourceDigest(): Promise<string> {
  const hash = createHash("sha256");
  for (const folder of bundled) {
    const files = await readdir(path.join(root, folder), { recursive: true });
    for (const file of files.toSorted()) {
      if (file.endsWith(extension)) hash.update(file).update(await readFile(path.join(root, folder, file)));
    }
  }
  hash.update(await readFile(path.join(root, "package.json")));
  return hash.digest("hex").slice(0, 16);
}
