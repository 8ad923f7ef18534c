import { spawn } from "node:child_process";
import { copyFile, cp, mkdir, realpath, writeFile } from "node:fs/promises";
import path from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { cacheDir } from "../../tools/cache.ts";
import { runCommand } from "../../tools/run-command.ts";
import { makeOwnedDir, removeOwnedDir } from "../support/owned-dir.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const bundle = "/etc/ssl/certs/ca-certificates.crt";
const signal = AbortSignal.timeout(3_600_000);

let dir = "";
beforeEach(async () => {
  dir = await makeOwnedDir();
});
afterEach(async () => await removeOwnedDir(dir));

test.each([
  { system: "Debian 12", suite: "bookworm", options: [] },
  { system: "Debian 13", suite: "trixie", options: [] },
  { system: "Ubuntu 22.04", suite: "jammy", options: foreign() },
  { system: "Ubuntu 24.04", suite: "noble", options: foreign() },
])("a minimal $system gets what it lacks, deploys the demo and is left as it was", async ({ suite, options }) => {
  const rootfs = path.join(dir, "rootfs");
  await runCommand(["nice", "mmdebstrap", ...minimal, ...options, "--format=directory", suite, rootfs], { signal });
  await addWhatNewcomersBring(rootfs);
  const said = await inSystem(rootfs, newcomer);
  expect(said).toMatch(/^installing Debian packages: gcc libc6-dev libseccomp-dev /m);
  expect(said).toMatch(/^runc: done in /m);
  expect(said).toMatch(/^runc version 1\.5\.\d+$/m);
  expect(said).toContain("It floats.");
  expect(said).toMatch(/^doctor 0$/m);
  expect(said).toMatch(/^left: 0$/m);
});

const minimal = ["--quiet", "--variant=minbase", "--include=apt,ca-certificates,git,python3-pip"];

/** This host need not hold Ubuntu's archive keys; the system is thrown away. */
function foreign(): string[] {
  return [
    "--components=main,universe",
    '--aptopt=Acquire::AllowInsecureRepositories "true"',
    '--aptopt=APT::Get::AllowUnauthenticated "true"',
  ];
}

/** Node, npm, a clone, and what is built already, but for what is linked with the system's own libraries. */
async function addWhatNewcomersBring(rootfs: string): Promise<void> {
  await copyFile(process.execPath, path.join(rootfs, "usr/local/bin/node"));
  const npm = path.dirname(path.dirname(await realpath((await runCommand(["sh", "-c", "command -v npm"], { signal })).trim())));
  await cp(npm, path.join(rootfs, "usr/local/lib/npm"), { recursive: true, dereference: true });
  for (const name of ["npm", "npx"]) {
    const file = path.join(rootfs, "usr/local/bin", name);
    await writeFile(file, `#!/bin/sh\nexec node /usr/local/lib/npm/bin/${name}-cli.js "$@"\n`, { mode: 0o755 });
  }
  await copyFile(bundle, path.join(rootfs, bundle));
  await runCommand(["git", "clone", "--quiet", root, path.join(rootfs, "root/slipway")], { signal });
  const tools = path.join(rootfs, "root/.cache/slipway/tools");
  await mkdir(tools, { recursive: true });
  await cp(path.join(cacheDir(), "tools"), tools, {
    recursive: true,
    preserveTimestamps: true,
    filter: (file) => !/\/(runc|set)-[^/]*$|\.lock/.test(file),
  });
}

/** The packages come by the host's network; everything else runs in one of the system's own, which nothing else has a part in. */
const newcomer = `cd /root/slipway
npm ci --no-audit --no-fund
node tools/main.ts 2>&1
/root/.cache/slipway/tools/runc-*/bin/runc --version
unshare --net bash -c '
  ip link set lo up
  npx slipway demo 2>&1
  node -e "fetch(process.argv[1]).then((answer) => answer.text()).then(console.log)" "$(npx slipway demo -o json | sed -n "s/.*\\"url\\": *\\"\\([^\\"]*\\)\\".*/\\1/p")"
  npx slipway doctor; echo "doctor $?"
  npx slipway down --purge
  left() { find /srv /run/slipway -mindepth 1; ip -o link show type bridge; nft list tables; grep "slipway/" /proc/mounts; }
  echo "left: $(left | wc -l)"
'`;

/** As the root of namespaces of its own (runc needs more than a chroot); all its processes end with the first. */
async function inSystem(rootfs: string, script: string): Promise<string> {
  const goRoot = (await runCommand(["go", "env", "GOROOT"], { signal })).trim();
  const goModules = (await runCommand(["go", "env", "GOMODCACHE"], { signal })).trim();
  const enter = `set -e
mount --bind "$0" "$0"
for folder in sys dev; do mount --rbind /$folder "$0/$folder"; done
mount -t proc proc "$0/proc"
mount -t tmpfs -o mode=755 tmpfs "$0/run"
mkdir -p "$0/usr/local/go" "$0/root/go/pkg/mod" "$0/host"
mount --bind -o ro "$1" "$0/usr/local/go"
mount --bind "$2" "$0/root/go/pkg/mod"
cp --remove-destination -L /etc/resolv.conf /etc/hosts "$0/etc/"
cd "$0"
pivot_root . host
umount -l /host
exec bash -c "$3"`;
  const child = spawn(
    "unshare",
    ["--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "bash", "-c", enter, rootfs, goRoot, goModules, script],
    {
      env: {
        HOME: "/root",
        PATH: "/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        LANG: "C.UTF-8",
        SLIPWAY_DATA: "/srv/slipway",
        SSL_CERT_FILE: bundle,
        NODE_EXTRA_CA_CERTS: bundle,
        PIP_CERT: bundle,
        npm_config_cafile: bundle,
      },
      stdio: ["ignore", "pipe", "inherit"],
      signal,
    },
  );
  return await text(child.stdout);
}
