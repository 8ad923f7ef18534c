import { readFile, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cloneRepository } from "../../../cli/source/clone.ts";
import { SourceError } from "../../../cli/source/errors.ts";
import { parseGitAddress } from "../../../cli/source/git-address.ts";
import { readCommit } from "../../../cli/source/git.ts";
import { type GitServer, openGitServer } from "../../support/git-server.ts";

const signal = AbortSignal.timeout(100_000);
let server: GitServer;
let first = "";
let second = "";

beforeAll(async () => {
  server = await openGitServer();
  first = await server.commit("app", { page: "one", "deep/page": "deep one" });
  second = await server.commit("app", { page: "two", "deep/page": "deep two" });
  await server.commit("app", { page: "beside" }, "feature/x");
  await server.git("app", "tag", "v1", first);
  await server.git("app", "update-server-info");
});
afterAll(() => server?.[Symbol.asyncDispose]());

async function pageOf(address: string): Promise<{ page: string; sha: string | undefined }> {
  await using clone = await cloneRepository(parseGitAddress(address)!, signal);
  const page = await readFile(path.join(clone.directory, "page"), "utf8");
  return { page, sha: (await readCommit(clone.directory, signal))?.sha };
}

describe.each(["url", "plainUrl"] as const)("a clone from a server at its %s", (kind) => {
  it("is of the branch, tag, commit and folder that is named", async () => {
    const repository = `${server[kind]}/app.git`;
    expect(await pageOf(repository)).toEqual({ page: "two", sha: second });
    expect(await pageOf(`${repository}#v1`)).toEqual({ page: "one", sha: first });
    expect(await pageOf(`${repository}#${first}`)).toEqual({ page: "one", sha: first });
    expect((await pageOf(`${repository}#feature/x`)).page).toBe("beside");
    expect((await pageOf(`${repository}#v1:deep`)).page).toBe("deep one");
    expect((await pageOf(`${repository}#:deep`)).page).toBe("deep two");
  });

  it("says what is not there, and leaves nothing behind", async () => {
    const repository = `${server[kind]}/app.git`;
    const before = await leftBehind();
    await expect(pageOf(`${repository}#nowhere`)).rejects.toThrow(/Cannot find "nowhere" in "http.*app.git"/);
    await expect(pageOf(`${repository}#:nowhere`)).rejects.toThrow(/Cannot find folder "nowhere"/);
    await expect(pageOf(`${server[kind]}/none.git`)).rejects.toThrow(SourceError);
    expect(await leftBehind()).toEqual(before);
  });
});

it("a clone has its submodules", async () => {
  await server.commit("outer", { ".gitmodules": `[submodule "inner"]\n\tpath = inner\n\turl = ../app.git\n` });
  await server.git("outer", "update-index", "--add", "--cacheinfo", `160000,${first},inner`);
  const commit = await server.git("outer", "commit-tree", await server.git("outer", "write-tree"), "-m", "with a submodule");
  await server.git("outer", "update-ref", "refs/heads/main", commit);
  await using clone = await cloneRepository(parseGitAddress(`${server.url}/outer.git`)!, signal);
  expect(await readFile(path.join(clone.directory, "inner/page"), "utf8")).toBe("one");
});

it("a login in the address is used, and shown to nobody", async () => {
  await using guarded = await openGitServer({ login: "me:s3cret" });
  await guarded.commit("app", { page: "guarded" });
  const address = (login: string, name: string) => guarded.url.replace("//", `//${login}@`) + `/${name}.git`;
  {
    await using clone = await cloneRepository(parseGitAddress(address("me:s3cret", "app"))!, signal);
    expect(await readFile(path.join(clone.directory, "page"), "utf8")).toBe("guarded");
    for (const file of await readdir(path.join(clone.directory, ".git"), { recursive: true, withFileTypes: true }))
      if (file.isFile()) expect(await readFile(path.join(file.parentPath, file.name), "latin1")).not.toContain("s3cret");
  }
  const refused = await pageOf(address("me:wr0ng", "app")).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(SourceError);
  expect((refused as Error).message).toMatch(/Cannot clone "http:\/\/127/);
  expect(JSON.stringify([String(refused), (refused as Error).cause ?? ""])).not.toContain("wr0ng");
});

it("an interrupted clone ends with the reason and leaves nothing behind", async () => {
  const before = await leftBehind();
  const stop = new AbortController();
  const cloning = cloneRepository(parseGitAddress(`${server.url}/app.git`)!, stop.signal);
  stop.abort(new Error("enough"));
  await expect(cloning).rejects.toThrow("enough");
  expect(await leftBehind()).toEqual(before);
});

const leftBehind = async () => (await readdir(tmpdir())).filter((name) => /^slipway-git-(?!server-)/.test(name));
