import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";

const modulePath = path.resolve(import.meta.dirname, "../../../tools/debian-packages.ts");
const signal = AbortSignal.timeout(60_000);
let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "slipway-apt-"));
});
afterEach(async () => await rm(dir, { recursive: true }));

/** dpkg's and apt's own folders, of which this machine's stay as they are; no network. `mmdebstrap` is not installed as dpkg has it here. */
const withoutMmdebstrap = `set -e
mount -t tmpfs tmpfs "$0"
mkdir "$0/upper" "$0/work"
mount -t overlay overlay -o "lowerdir=/var/lib/dpkg,upperdir=$0/upper,workdir=$0/work" /var/lib/dpkg
mount -t tmpfs tmpfs /var/lib/apt/lists
sed -i '/^Package: mmdebstrap$/,/^$/d' /var/lib/dpkg/status`;

const ensure = `import { ensureDebianPackages } from ${JSON.stringify(modulePath)};
const progress = (line) => console.log(line);
await ensureDebianPackages({ groups: ["bases"], progress, signal: AbortSignal.timeout(50_000) }).catch((error) => console.log(error.message));`;

const holdLock = `import fcntl, os, time
lock = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(1.5)`;

async function inOwnDpkg(script: string, args: readonly string[] = []): Promise<string> {
  const child = spawn(
    "unshare",
    ["--mount", "--net", "--propagation=private", "bash", "-c", `${withoutMmdebstrap}\n${script}`, dir, process.execPath, ...args],
    {
      stdio: ["ignore", "pipe", "inherit"],
      signal,
    },
  );
  return await text(child.stdout);
}

test("without a network the set-up names the packages, the address that did not answer and the next command", async () => {
  const said = await inOwnDpkg('exec "$1" --input-type=module --eval "$2"', [ensure]);
  const [first, ...rest] = said.split("\n");
  expect(first).toBe("installing Debian packages: mmdebstrap");
  expect(rest.join("\n")).toMatch(/^Cannot install the Debian packages mmdebstrap: failed to fetch http\S+ .*; look at the network/);
  expect(rest.join("\n")).toContain("run: apt-get update && apt-get install -y --no-install-recommends mmdebstrap");
});

test("the set-up waits for another program that uses apt, and names it", async () => {
  const script = 'coproc python3 -c "$3"\nread -r -u "${COPROC[0]}" _\n"$1" --input-type=module --eval "$2"';
  const said = await inOwnDpkg(script, [ensure, holdLock]);
  expect(said).toMatch(/^installing Debian packages: mmdebstrap\nwaiting for process \d+ \(python3\), which uses apt\nCannot install/);
});

test("a user who is not root is told the command to run", async () => {
  const script = 'exec setpriv --reuid=65534 --regid=65534 --clear-groups "$1" --input-type=module --eval "$2"';
  expect(await inOwnDpkg(script, [ensure])).toBe(
    "Cannot install Debian packages as this user; missing: mmdebstrap; run: sudo apt-get update && sudo apt-get install -y --no-install-recommends mmdebstrap\n",
  );
});

test("a system without dpkg is named, and what is expected", async () => {
  const system = 'printf \'PRETTY_NAME="Fedora Linux 44"\\n\' > "$0/os"\nmount --bind "$0/os" /etc/os-release';
  const script = `${system}\nPATH=/nowhere exec "$1" --input-type=module --eval "$2"`;
  const said = await inOwnDpkg(script, [ensure]);
  expect(said).toMatch(/^Cannot look for the packages gcc .* mmdebstrap: this is Fedora Linux 44, .*; expected Debian 12 or 13, or Ubuntu/);
});
