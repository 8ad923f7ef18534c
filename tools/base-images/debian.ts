import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { toolsSourceDir } from "../cache.ts";
import { runCommand } from "../run-command.ts";
import { type BaseImageRecipe, type LayerRecipe, type RecipeContext, caInImage } from "./types.ts";

const suite = "bookworm";
/** Raise it to take in what Debian has published since. */
const edition = 1;
/** everything that is newer is dated back to this: 2025-01-01 */
const sourceDateEpoch = "1735689600";

const slimmed = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*"];

export const debianEnv = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] as const;

export function debianLayer(caBundle: string | undefined): LayerRecipe {
  return { title: `debian ${suite}`, inputs: ["debian", suite, edition, slimmed, caBundle], writeTar };
}

export function debianRecipe(caBundle: string | undefined): BaseImageRecipe {
  return {
    name: "debian",
    repository: "library/debian",
    tags: [`${suite}-slim`, "12-slim", "stable-slim"],
    layers: [debianLayer(caBundle)],
    config: { Env: debianEnv, Cmd: ["bash"] },
  };
}

/**
 * The CAs lie where TLS programs look, without the package ca-certificates; and where update-ca-certificates looks, so that they stay
 * trusted when a Dockerfile installs that package.
 */
async function writeTar(file: string, { workDir, caBundle, signal }: RecipeContext): Promise<void> {
  const cas = path.join(workDir, "ca.crt");
  await using keys = await archiveKeys();
  if (caBundle !== undefined) await writeFile(cas, caBundle);
  const local = "/usr/local/share/ca-certificates/slipway-extra.crt";
  const hooks = [
    ...(caBundle === undefined ? [] : [`mkdir -p "$1/etc/ssl/certs" "$1${path.dirname(local)}"`]),
    ...(caBundle === undefined
      ? []
      : [`cp "${cas}" "$1${caInImage}"`, `cp "${cas}" "$1${local}"`, `chmod 644 "$1${caInImage}" "$1${local}"`]),
    `rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*.log "$1"/var/log/apt "$1"/etc/resolv.conf "$1"/etc/hostname`,
  ];
  const argv = [
    "--variant=minbase",
    "--quiet",
    `--keyring=${keys.file}`,
    ...slimmed.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    ...hooks.map((hook) => `--customize-hook=${hook}`),
    suite,
    file,
  ];
  await runCommand(["nice", "mmdebstrap", ...argv], { signal, env: { ...process.env, SOURCE_DATE_EPOCH: sourceDateEpoch } });
}

/**
 * Debian 12's own: automatic, stable and security (`gpg --export-options export-minimal` of its package debian-archive-keyring), as the
 * keyrings of other distributions lack them; that of Ubuntu 22.04 is older than Debian 12. Where apt's own user can read them.
 */
async function archiveKeys(): Promise<AsyncDisposable & { readonly file: string }> {
  const armored = await readFile(path.join(toolsSourceDir, "base-images", "debian-12-archive-keys.asc"), "utf8");
  const dir = await mkdtemp(path.join(tmpdir(), "slipway-keys-"));
  const file = path.join(dir, "archive-keys.gpg");
  await chmod(dir, 0o755);
  await writeFile(file, dearmored(armored), { mode: 0o644 });
  return { file, [Symbol.asyncDispose]: async () => await rm(dir, { recursive: true, force: true }) };
}

/** The bytes of an ASCII-armored block (RFC 9580, section 6.2), without its checksum. */
export function dearmored(text: string): Buffer {
  const body = /^-----BEGIN [^\n]*\n(?:[^\n]+\n)*\n([\s\S]*?)\n(?:=[^\n]{4}\n)?-----END /m.exec(text)?.[1];
  if (body === undefined) throw new TypeError("Cannot read the archive keys: expected an ASCII-armored block");
  return Buffer.from(body, "base64");
}
