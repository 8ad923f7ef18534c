/**
 * Generates the gRPC types of containerd and BuildKit into `proto/gen/` (ignored by git) from the very Go modules that `tools/go.mod`
 * pins, so that client and daemon cannot drift apart. Does nothing when the pins have not changed since the last time.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(here);
const outDir = path.join(here, "gen");
const stampFile = path.join(outDir, "stamp");

const containerdApi = "github.com/containerd/containerd/api";
const buildkit = "github.com/moby/buildkit";

/** Files of each module, and where their importers expect to find them. */
const wanted = {
  [containerdApi]: {
    prefix: "",
    files: [
      ...["containers", "content", "diff", "events", "images", "introspection", "leases", "snapshots", "tasks", "version"].map(
        (service) => `services/${service}/v1/${service}.proto`,
      ),
      "services/namespaces/v1/namespace.proto",
      "events/task.proto",
    ],
    dirs: ["types"],
  },
  [buildkit]: {
    prefix: buildkit,
    files: [
      "api/services/control/control.proto",
      "api/types/worker.proto",
      "solver/pb/ops.proto",
      "solver/errdefs/errdefs.proto",
      "sourcepolicy/pb/policy.proto",
      "session/auth/auth.proto",
      "session/secrets/secrets.proto",
    ],
    dirs: [],
  },
} as const;

export async function generateProto(): Promise<"generated" | "unchanged"> {
  const stamp = await pinsDigest();
  if ((await readFile(stampFile, "utf8").catch(() => "")) === stamp) return "unchanged";

  const work = await mkdtemp(path.join(tmpdir(), "slipway-proto-"));
  try {
    const staged = path.join(work, "proto");
    const generated = path.join(work, "gen");
    await stage(staged);
    await generate(work, staged, generated);
    await writeFile(path.join(generated, "stamp"), stamp);
    await replaceDir(generated, outDir);
    return "generated";
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The pins, this recipe and the generator's version: whatever changes the output. */
async function pinsDigest(): Promise<string> {
  const hash = createHash("sha256");
  const goMod = await readFile(path.join(root, "tools", "go.mod"), "utf8");
  for (const module of [containerdApi, buildkit]) {
    hash.update(goMod.split("\n").find((line) => line.trim().startsWith(`${module} `)) ?? "");
  }
  hash.update(await readFile(fileURLToPath(import.meta.url)));
  hash.update(await readFile(path.join(root, "node_modules", "@bufbuild", "protoc-gen-es", "package.json")));
  return hash.digest("hex");
}

async function stage(staged: string): Promise<void> {
  for (const [module, { prefix, files, dirs }] of Object.entries(wanted)) {
    const source = await moduleDir(module);
    for (const file of files) await copy(path.join(source, file), path.join(staged, prefix, file));
    for (const dir of dirs) {
      for (const file of await readdir(path.join(source, dir), { recursive: true })) {
        if (file.endsWith(".proto")) await copy(path.join(source, dir, file), path.join(staged, prefix, dir, file));
      }
    }
  }
  const temporal = path.dirname(createRequire(import.meta.url).resolve("@temporalio/core-bridge/package.json"));
  const status = "google/rpc/status.proto";
  await copy(path.join(temporal, "sdk-core/crates/protos/protos", status), path.join(staged, status));
}

async function moduleDir(module: string): Promise<string> {
  const { stdout } = await run("go", ["mod", "download", "-json", module], { cwd: path.join(root, "tools"), maxBuffer: 16 << 20 });
  const { Dir } = JSON.parse(stdout) as { Dir: string };
  return Dir;
}

async function copy(from: string, to: string): Promise<void> {
  await mkdir(path.dirname(to), { recursive: true });
  await cp(from, to);
}

async function generate(work: string, staged: string, generated: string): Promise<void> {
  const bin = path.join(root, "node_modules", ".bin");
  const template = {
    version: "v2",
    inputs: [{ directory: staged }],
    plugins: [
      {
        local: path.join(bin, "protoc-gen-es"),
        out: generated,
        opt: ["target=ts", "import_extension=ts", "erasable_syntax=true"],
      },
    ],
  };
  await writeFile(path.join(work, "buf.gen.yaml"), JSON.stringify(template));
  await run(path.join(bin, "buf"), ["generate", "--template", path.join(work, "buf.gen.yaml")], { cwd: work, maxBuffer: 16 << 20 });
}

/** Two runs side by side both end with a whole folder. */
async function replaceDir(from: string, to: string): Promise<void> {
  const next = `${to}.${process.pid}`;
  const old = `${to}.${process.pid}.old`;
  await cp(from, next, { recursive: true });
  await rename(to, old).catch(() => undefined);
  await rename(next, to).catch(() => undefined);
  await rm(old, { recursive: true, force: true });
  await rm(next, { recursive: true, force: true });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.error(`proto/gen: ${await generateProto()}`);
