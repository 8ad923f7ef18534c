import { chmod, cp, mkdir, readFile, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { runCommand } from "../run-command.ts";
import { debianEnv, debianLayer } from "./debian.ts";
import { packFolder } from "./pack-folder.ts";
import type { BaseImageRecipe, RecipeContext } from "./types.ts";

const version = "1.26.8";
const module = `golang.org/toolchain@v0.0.1-go${version}.linux-amd64`;
/** as in the checksum database */
const sum = "h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM=";

/** Without a C compiler: Go then builds with CGO_ENABLED=0 by itself. */
export function golangRecipe(caBundle: string | undefined): BaseImageRecipe {
  const minor = version.split(".").slice(0, 2).join(".");
  return {
    name: "golang",
    repository: "library/golang",
    tags: [minor, `${minor}-bookworm`, version],
    layers: [debianLayer(caBundle), { title: `go ${version}`, inputs: ["golang", 1, module, sum, leftOut.source], writeTar }],
    config: {
      Env: [
        `PATH=/go/bin:/usr/local/go/bin:${debianEnv[0].slice("PATH=".length)}`,
        `GOLANG_VERSION=${version}`,
        "GOTOOLCHAIN=local",
        "GOPATH=/go",
      ],
      Cmd: ["bash"],
      WorkingDir: "/go",
    },
  };
}

/** Go's own tests, a third of it. */
const leftOut = /\/testdata(\/|$)|_test\.go$/;

async function writeTar(file: string, { workDir, signal }: RecipeContext): Promise<void> {
  const root = path.join(workDir, "root");
  const go = path.join(root, "usr/local/go");
  const source = await downloadToolchain(signal);
  await cp(source, go, { recursive: true, filter: (name) => !leftOut.test(name.slice(source.length)) });
  await makeUsable(go, signal);
  for (const folder of ["bin", "src"]) {
    await mkdir(path.join(root, "go", folder), { recursive: true });
    await chmod(path.join(root, "go", folder), 0o1777);
  }
  await packFolder(root, file, signal);
  await runCommand(["chmod", "-R", "u+w", root], { signal });
}

async function downloadToolchain(signal: AbortSignal): Promise<string> {
  // outside any module: nothing but the command line says what to fetch
  const output = await runCommand(["go", "mod", "download", "-json", module], {
    cwd: "/",
    env: { ...process.env, GO111MODULE: "on" },
    signal,
  });
  const { Dir, Sum } = JSON.parse(output) as { Dir: string; Sum: string };
  if (Sum !== sum) throw new Error(`Cannot trust "${module}": expected ${sum}, found ${Sum}`);
  return Dir;
}

/** Module archives hold neither modes nor nested go.mod files; the go command puts both back when it takes a toolchain into use. */
async function makeUsable(go: string, signal: AbortSignal): Promise<void> {
  await runCommand(["chmod", "-R", "u=rwX,go=rX", go], { signal });
  for (const folder of ["bin", "pkg/tool"]) {
    for (const entry of await readdir(path.join(go, folder), { recursive: true, withFileTypes: true }).catch(() => [])) {
      if (entry.isFile()) await chmod(path.join(entry.parentPath, entry.name), 0o755);
    }
  }
  for (const entry of await readdir(go, { recursive: true, withFileTypes: true })) {
    if (entry.name === "_go.mod") await rename(path.join(entry.parentPath, entry.name), path.join(entry.parentPath, "go.mod"));
  }
  await rm(path.join(go, "codereview.cfg"), { force: true });
  if (!(await readFile(path.join(go, "VERSION"), "utf8")).startsWith(`go${version}`))
    throw new Error(`Cannot use "${module}": it is another version`);
}
