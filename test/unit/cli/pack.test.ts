import { chmod, mkdir, mkdtemp, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
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

let directory: string;
const signal = new AbortController().signal;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "slipway-pack-test-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

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

async function tarEntries(file: string) {
  const entries: { name: string; type: string; mode: number; uid: number; mtimeMs: number; linkname: string | undefined; text: string }[] =
    [];
  const reader = Readable.from([await readFile(file)]).pipe(extract());
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
  test("the same source has the same digest whatever its times, its modes beside x, and the order it was written in", async () => {
    await write({ "b.txt": "b", "a/run.sh": "#!/bin/sh", Dockerfile: "FROM scratch" });
    await chmod(path.join(directory, "a/run.sh"), 0o755);
    await using first = await packSource(directory, await list(), signal);
    await rm(path.join(directory, "b.txt"));
    await write({ "b.txt": "b" });
    await chmod(path.join(directory, "b.txt"), 0o600);
    await chmod(path.join(directory, "a/run.sh"), 0o700);
    await utimes(path.join(directory, "a"), new Date(5000), new Date(5000));
    await using second = await packSource(directory, await list(), signal);
    expect(second.digest).toBe(first.digest);
    expect(first.digest).toBe(digestOf(await readFile(first.file)));
    expect(first.sizeBytes).toBe((await readFile(first.file)).length);
    expect(first.fileCount).toBe(3);
  });

  test.each<[string, () => Promise<void>]>([
    ["a changed byte", () => write({ "b.txt": "B" })],
    ["a new file", () => write({ "c.txt": "" })],
    ["a set x bit", () => chmod(path.join(directory, "b.txt"), 0o744)],
    ["an empty directory", () => mkdir(path.join(directory, "empty")).then(() => {})],
  ])("%s changes the digest", async (_what, change) => {
    await write({ "b.txt": "b", Dockerfile: "FROM scratch" });
    await using before = await packSource(directory, await list(), signal);
    await change();
    await using after = await packSource(directory, await list(), signal);
    expect(after.digest).not.toBe(before.digest);
  });

  test("entries come in byte order with fixed owner, time and modes, and a large file whole", async () => {
    const large = "0123456789".repeat(70_000);
    await write({ "a/b": "1", "a-b": "2", Z: "3", é: "4", large });
    await symlink("../Z", path.join(directory, "a/link"));
    await using packed = await packSource(directory, await list(), signal);
    const entries = await tarEntries(packed.file);
    expect(entries.map((entry) => entry.name)).toEqual(["Z", "a/", "a-b", "a/b", "a/link", "large", "é"]);
    expect(entries.map((entry) => entry.mode.toString(8))).toEqual(["644", "755", "644", "644", "777", "644", "644"]);
    expect(entries.every((entry) => entry.uid === 0 && entry.mtimeMs === 0)).toBe(true);
    expect(entries.find((entry) => entry.name === "a/link")).toMatchObject({ type: "symlink", linkname: "../Z" });
    expect(entries.find((entry) => entry.name === "large")?.text).toBe(large);
  });

  test.each([10, 300_000])("a file of %d bytes that changed since it was listed is named", async (sizeBytes) => {
    await write({ log: "x".repeat(sizeBytes) });
    const entries = await list();
    await write({ log: "x".repeat(sizeBytes + 5) });
    await expect(packSource(directory, entries, signal)).rejects.toThrow('Cannot pack "log": it changed while it was read');
    await write({ log: "x".repeat(sizeBytes - 5) });
    await expect(packSource(directory, entries, signal)).rejects.toThrow('Cannot pack "log": it changed while it was read');
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
