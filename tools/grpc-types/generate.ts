import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { toolsSourceDir } from "../cache.ts";
import { goModuleDir } from "../go-tool.ts";
import { checkRequirements } from "../requirements.ts";
import { runCommand, ToolError } from "../run-command.ts";

const root = path.dirname(toolsSourceDir);
const outDir = path.join(root, "proto", "gen");
const stampFile = path.join(outDir, "stamp");
const generator = path.join(root, "node_modules", "@bufbuild", "protoc-gen-es", "package.json");

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

/**
 * Generates the gRPC types of containerd and BuildKit into `proto/gen/` (ignored by git) from the very Go modules that `tools/go.mod`
 * pins, so that client and daemon cannot drift apart. Does nothing when the pins have not changed since the last time.
 * @param progress one line, when there is something to do
 * @throws ToolError saying what failed and how to get what is missing
 */
export async function generateGrpcTypes(progress: (line: string) => void, signal: AbortSignal): Promise<"generated" | "unchanged"> {
  const stamp = await wantedStamp();
  if ((await readFile(stampFile, "utf8").catch(() => "")) === stamp) return "unchanged";

  progress("generating the gRPC types of containerd and BuildKit");
  await checkRequirements("Cannot generate the gRPC types", new Set(["go"]), signal);
  const work = await mkdtemp(path.join(tmpdir(), "slipway-proto-"));
  try {
    const staged = path.join(work, "proto");
    const generated = path.join(work, "gen");
    await stage(staged, signal);
    await generate(work, staged, generated, signal);
    await writeFile(path.join(generated, "stamp"), stamp);
    await replaceDir(generated, outDir);
    return "generated";
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** @throws ToolError when the types are missing or of other pins */
export async function requireGrpcTypes(): Promise<void> {
  const found = await readFile(stampFile, "utf8").catch(() => undefined);
  if (found === undefined) throw new ToolError(`found none in "${outDir}"`);
  if (found !== (await wantedStamp())) throw new ToolError(`those in "${outDir}" are of other versions than tools/go.mod pins`);
}

/** Of the pins, this recipe and the generator's version: whatever changes the output. */
async function wantedStamp(): Promise<string> {
  const hash = createHash("sha256");
  const goMod = await readFile(path.join(toolsSourceDir, "go.mod"), "utf8");
  for (const module of [containerdApi, buildkit]) {
    hash.update(goMod.split("\n").find((line) => line.trim().startsWith(`${module} `)) ?? "");
  }
  hash.update(await readFile(fileURLToPath(import.meta.url)));
  hash.update(
    await readFile(generator).catch((cause: unknown) => {
      throw new ToolError(`Cannot generate the gRPC types: "${generator}" is missing; run: npm ci`, { cause });
    }),
  );
  return hash.digest("hex");
}

async function stage(staged: string, signal: AbortSignal): Promise<void> {
  for (const [module, { prefix, files, dirs }] of Object.entries(wanted)) {
    const source = await goModuleDir(module, signal);
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

async function copy(from: string, to: string): Promise<void> {
  await mkdir(path.dirname(to), { recursive: true });
  await cp(from, to);
}

async function generate(work: string, staged: string, generated: string, signal: AbortSignal): Promise<void> {
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
  await runCommand([path.join(bin, "buf"), "generate", "--template", path.join(work, "buf.gen.yaml")], { cwd: work, signal });
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
