import { execFileSync } from "node:child_process";
import { chmod, link, lstat, mkdir, mkdtemp, readFile, rm, symlink, truncate, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { extract } from "tar-stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { loadIgnorePatterns } from "../../../cli/source/ignore-file.ts";
import { listSource } from "../../../cli/source/list-source.ts";
import { packSource } from "../../../cli/source/pack.ts";
import { openSourceIndex } from "../../../cli/source/source-index.ts";

let directory: string;
const signal = new AbortController().signal;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "slipway-pack-test-"));
});
afterEach(async () => {
  await rm(cacheDir(), { recursive: true, force: true });
  await rm(directory, { recursive: true, force: true });
});
const cacheDir = () => `${directory}-cache`;

async function write(files: Record<string, string>, into = directory): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(into, name)), { recursive: true });
    await writeFile(path.join(into, name), text);
  }
}

async function list(dockerfile = "Dockerfile", ignoreFile?: string) {
  const ignore = await loadIgnorePatterns(directory, dockerfile, ignoreFile);
  return listSource({ directory, ignore, always: new Set([dockerfile]) }, signal);
}
const paths = async (...args: Parameters<typeof list>) => (await list(...args)).map((entry) => entry.path);

/** As a deploy does it, with an index of before. */
async function packed(entries?: Awaited<ReturnType<typeof list>>) {
  const index = await openSourceIndex(directory, { environment: { XDG_CACHE_HOME: cacheDir() } });
  const source = await packSource(directory, entries ?? (await list()), index, signal);
  return { ...source, tar: () => Buffer.concat(source.packs.map((pack) => source.bytesOf(pack))) };
}

async function tarEntries(tar: Buffer) {
  const entries: { name: string; type: string; mode: number; uid: number; mtimeMs: number; linkname: string | undefined; text: string }[] =
    [];
  const reader = Readable.from([tar]).pipe(extract());
  for await (const entry of reader) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const { name, type, mode, uid, mtime, linkname } = entry.header;
    entries.push({
      name,
      type: type ?? "",
      mode: mode ?? -1,
      uid: uid ?? -1,
      mtimeMs: mtime?.getTime() ?? -1,
      linkname: linkname ?? undefined,
      text: Buffer.concat(chunks).toString(),
    });
  }
  return entries;
}

describe("packSource", () => {
  test("the same source has the same digest whatever its times and the order it was written in", async () => {
    await write({ "b.txt": "b", "a/run.sh": "#!/bin/sh", Dockerfile: "FROM scratch" });
    const first = await packed();
    await rm(path.join(directory, "b.txt"));
    await write({ "b.txt": "b" });
    await utimes(path.join(directory, "a"), new Date(5000), new Date(5000));
    const second = await packed();
    expect(second.digest).toBe(first.digest);
    expect(first.digest).toBe(digestOf(first.manifest));
    expect(first.sizeBytes).toBe(first.tar().length);
    expect(first.fileCount).toBe(3);
  });

  test.each<[string, () => Promise<void>]>([
    ["a changed byte", () => write({ "b.txt": "B" })],
    ["a new file", () => write({ "c.txt": "" })],
    ["a set x bit", () => chmod(path.join(directory, "b.txt"), 0o744)],
    ["a folder's mode", () => chmod(path.join(directory, "d"), 0o700)],
    ["an empty directory", () => mkdir(path.join(directory, "empty")).then(() => {})],
  ])("%s changes the digest", async (_what, change) => {
    await write({ "b.txt": "b", "d/e": "", Dockerfile: "FROM scratch" });
    const before = await packed();
    await change();
    expect((await packed()).digest).not.toBe(before.digest);
  });

  test("entries come in byte order with fixed owner and time and their own modes, and a large file whole", async () => {
    const large = "0123456789".repeat(900_000);
    await write({ "a/b": "1", "a-b": "2", Z: "3", é: "4", "\u{1f600}": "5", "\uff5e": "6", large });
    await symlink("../Z", path.join(directory, "a/link"));
    await chmod(path.join(directory, "a"), 0o1777);
    for (const [name, mode] of Object.entries({ Z: 0o600, "a-b": 0o644, "a/b": 0o4755, large: 0o640, é: 0o444 }))
      await chmod(path.join(directory, name), mode);
    const entries = await tarEntries((await packed()).tar());
    expect(entries.map((entry) => entry.name)).toEqual(["Z", "a/", "a-b", "a/b", "a/link", "large", "é", "\uff5e", "\u{1f600}"]);
    expect(entries.slice(0, 7).map((entry) => entry.mode.toString(8))).toEqual(["600", "1777", "644", "4755", "777", "640", "444"]);
    expect(entries.every((entry) => entry.uid === 0 && entry.mtimeMs === 0)).toBe(true);
    expect(entries.find((entry) => entry.name === "a/link")).toMatchObject({ type: "symlink", linkname: "../Z" });
    expect(entries.find((entry) => entry.name === "large")?.text).toBe(large);
  });

  test("GNU tar reads what was packed: long and foreign names, hard links as files, sparse files", async () => {
    const deep = "x".repeat(90);
    await write({ [`${deep}/${deep}/${deep}/f`]: "deep", 'ein "Übel"\n': "name", "twice/a": "same" });
    await link(path.join(directory, "twice/a"), path.join(directory, "twice/b"));
    await symlink(`${deep}/${deep}`, path.join(directory, "link"));
    await write({ sparse: "" });
    await truncate(path.join(directory, "sparse"), 3_000_000);
    const out = await mkdtemp(path.join(tmpdir(), "slipway-pack-test-"));
    try {
      execFileSync("tar", ["-x", "-C", out], { input: (await packed()).tar() });
      for (const name of [`${deep}/${deep}/${deep}/f`, 'ein "Übel"\n', "twice/a", "twice/b", "sparse"])
        expect(await readFile(path.join(out, name))).toEqual(await readFile(path.join(directory, name)));
      expect((await lstat(path.join(out, "link"))).isSymbolicLink()).toBe(true);
    } finally {
      await rm(out, { recursive: true, force: true });
    }
  });

  test.each([10, 9_000_000])("a file of %d bytes that changed since it was listed is named", async (sizeBytes) => {
    await write({ log: "x".repeat(sizeBytes) });
    const entries = await list();
    await write({ log: "x".repeat(sizeBytes + 5) });
    await expect(packed(entries)).rejects.toThrow('Cannot pack "log": it changed while it was read');
    await write({ log: "x".repeat(sizeBytes - 5) });
    await expect(packed(entries)).rejects.toThrow('Cannot pack "log": it changed while it was read');
    await rm(path.join(directory, "log"));
    await expect(packed(entries)).rejects.toThrow('Cannot pack "log": it changed while it was read');
    await symlink("/etc/passwd", path.join(directory, "log"));
    await expect(packed(entries)).rejects.toThrow('Cannot pack "log": it changed while it was read');
  });

  test("a file that changes between being packed and being sent is named", async () => {
    await write({ log: "aaaa" });
    const source = await packed();
    await write({ log: "bbbb" });
    expect(() => source.tar()).toThrow('Cannot pack "log": it changed while it was read');
  });
});

describe("listSource", () => {
  test(".git is left out unless the ignore file takes it back", async () => {
    await write({ ".git/HEAD": "x", Dockerfile: "" });
    expect(await paths()).toEqual(["Dockerfile"]);
    await write({ ".dockerignore": "!.git" });
    expect(await paths()).toEqual([".dockerignore", ".git", ".git/HEAD", "Dockerfile"]);
  });

  test("the Dockerfile is packed even when it is ignored, with the directory that holds it", async () => {
    await write({ "deploy/Dockerfile": "", "deploy/other": "", "src/a": "", ".dockerignore": "deploy\n.dockerignore" });
    expect(await paths("deploy/Dockerfile")).toEqual(["deploy", "deploy/Dockerfile", "src", "src/a"]);
  });

  test("files taken back below an ignored directory are packed with their directories", async () => {
    await write({
      "docs/a/keep.md": "",
      "docs/a/drop.md": "",
      "docs/b/drop.md": "",
      ".dockerignore": "docs\n!docs/a/keep.md\n.dockerignore",
    });
    expect(await paths()).toEqual(["docs", "docs/a", "docs/a/keep.md"]);
  });

  test("an ignore file beside the Dockerfile goes before .dockerignore, and a named one before both", async () => {
    await write({
      a: "",
      b: "",
      c: "",
      ".dockerignore": "a\n.*\n*ignore",
      "Dockerfile.dockerignore": "b\n.*\n*ignore",
      "my.ignore": "c\n.*\n*ignore",
    });
    expect(await paths("Dockerfile", "my.ignore")).toEqual(["a", "b"]);
    expect(await paths()).toEqual(["a", "c"]);
    await expect(paths("Dockerfile", "absent")).rejects.toThrow('Cannot read ignore file "absent"');
  });

  test("a name that is no UTF-8 is named with its bytes", async () => {
    await mkdir(path.join(directory, "d"));
    await writeFile(Buffer.concat([Buffer.from(`${directory}/d/caf`), Buffer.from([0xe9])]), "");
    await expect(list()).rejects.toThrow('"d/caf\\xe9" has a name that is not UTF-8; rename it');
    await write({ ".dockerignore": "d" });
    expect(await paths()).toEqual([".dockerignore"]);
  });

  test("everything that cannot be packed is named at once", async () => {
    await write({ "a/file": "" });
    await symlink("/etc/passwd", path.join(directory, "absolute"));
    await symlink("../../outside", path.join(directory, "a/out"));
    const server = createServer().listen(path.join(directory, "sock"));
    try {
      await new Promise((resolve) => server.once("listening", resolve));
      await expect(list()).rejects.toThrow(
        expect.objectContaining({
          message: expect.stringMatching(
            /"a\/out" is a symlink that leads out of the source, to "\.\.\/\.\.\/outside"[^]*"absolute" is a symlink to the absolute path "\/etc\/passwd"[^]*"sock" is neither file/,
          ),
        }),
      );
    } finally {
      server.close();
    }
  });
});
