import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { chmod, copyFile, mkdir, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { runCommand } from "../run-command.ts";
import { packFolder } from "./pack-folder.ts";
import { type BaseImageRecipe, type RecipeContext, caInImage } from "./types.ts";

/** From Debian's busybox-static. */
const program = "/bin/busybox";

export function busyboxRecipe(caBundle: string | undefined): BaseImageRecipe {
  return {
    name: "busybox",
    repository: "library/busybox",
    tags: ["stable", "latest", "1"],
    layers: [
      {
        title: "busybox",
        inputs: ["busybox", 1, createHash("sha256").update(readProgram()).digest("hex"), caBundle],
        writeTar,
      },
    ],
    config: { Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], Cmd: ["sh"] },
  };
}

function readProgram(): Buffer {
  try {
    return readFileSync(program);
  } catch (cause) {
    throw new Error(`Cannot make "busybox": found no "${program}"; apt-get install busybox-static`, { cause });
  }
}

async function writeTar(file: string, { workDir, caBundle, signal }: RecipeContext): Promise<void> {
  const root = path.join(workDir, "root");
  for (const folder of ["bin", "dev", "etc/ssl/certs", "home", "proc", "root", "sys", "usr/bin", "usr/sbin", "var/www"]) {
    await mkdir(path.join(root, folder), { recursive: true });
  }
  for (const folder of ["tmp", "var/tmp"]) {
    await mkdir(path.join(root, folder), { recursive: true });
    await chmod(path.join(root, folder), 0o1777);
  }
  await copyFile(program, path.join(root, "bin/busybox"));
  await chmod(path.join(root, "bin/busybox"), 0o755);
  for (const applet of (await runCommand([program, "--list"], { signal })).trim().split("\n")) {
    if (applet !== "busybox") await symlink("busybox", path.join(root, "bin", applet));
  }
  await symlink("../../bin/env", path.join(root, "usr/bin/env"));
  await writeFile(path.join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n");
  await writeFile(path.join(root, "etc/group"), "root:x:0:\nnogroup:x:65534:\n");
  if (caBundle !== undefined) await writeFile(path.join(root, caInImage), caBundle);
  await packFolder(root, file, signal);
}
