import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { namedContexts, sourcesOf } from "../../../activities/build-contexts.ts";
import { frontendAttrs, frontendInputs } from "../../../builder/buildkit/frontend-attrs.ts";
import { chooseContexts } from "../../../cli/deploy/build-contexts.ts";
import { parseAppConfig } from "../../../config/app-config.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { digest } from "./views.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "contexts-"));
  await mkdir(path.join(dir, "shared"));
});
afterAll(() => rm(dir, { recursive: true }));

const choose = (options: string[], config: Record<string, string> = {}) => chooseContexts({ options, config, sourceDirectory: dir });

describe("build contexts", () => {
  test("are directories, images and files over HTTP; those of slipway.toml are relative to the source", () => {
    const { contexts } = parseAppConfig('app = "web"\n[build.contexts]\nshared = "shared"\nBase = "docker-image://x"', "slipway.toml");
    expect(contexts).toEqual({ shared: "shared", Base: "docker-image://x" });
    const given = [
      `Tools=${dir}/shared`,
      "base=docker-image://docker.io/library/busybox:1",
      "list=https://example.com/list.txt?x=1",
      "other=https://example.com/a.git#v1:b",
    ];
    expect(choose(given, { shared: "shared" })).toEqual({
      shared: { directory: path.join(dir, "shared") },
      tools: { directory: path.join(dir, "shared") },
      base: { address: "docker-image://docker.io/library/busybox:1" },
      other: { repository: { url: "https://example.com/a.git", ref: "v1", subdir: "b" } },
      list: { address: "https://example.com/list.txt?x=1" },
    });
  });

  test("of the command line go before those of slipway.toml", () => {
    expect(choose(["shared=docker-image://scratch"], { shared: "shared" })).toEqual({ shared: { address: "docker-image://scratch" } });
  });

  test("of slipway.toml lead to nothing of the user's that is outside of the source", async () => {
    await symlink(tmpdir(), path.join(dir, "out"));
    for (const value of ["..", "/etc", "out", "shared/../..", "https://example.com/a.git", "git@example.com:a.git"])
      expect(() => choose([], { x: value }), value).toThrow("name others with --build-context");
    expect(choose([], { x: ".", y: "shared", z: "docker-image://x", f: "https://example.com/f" })).toHaveProperty("f");
  });

  test.each([
    ["shared", "expected NAME=DIRECTORY"],
    ["x=nowhere", "there is no such directory"],
    ["x=docker-image://a b", "expected docker-image://IMAGE"],
    ["x=docker-image:a", "expected docker-image://IMAGE"],
    ["x=https://example.com/a#main", "that of a git repository, which ends with .git"],
    ["x=https://example.com/a.git#main:../up", "Cannot use folder"],
    ["x=input:y", "expected a directory"],
    ["x=local:y", "expected a directory"],
    ["x=oci-layout://y", "expected a directory"],
    ["a b=docker-image://x", "expected a name of"],
  ])("%s is refused: %s", (option, why) => {
    expect(() => choose([option])).toThrow(why);
  });

  test("a directory reaches the frontend as an input made of its tar, and may be read with the source", () => {
    const source = { repository: parseRepository("default/web"), digest, sizeBytes: 1 };
    const folder = { ...source, digest: digest.replace("a", "b") as typeof digest };
    const build = { contexts: { shared: folder, base: "docker-image://x" } };
    expect(sourcesOf({ source, build })).toEqual([source, folder]);
    const contexts = namedContexts(build, (of) => `http://mirror/${of.digest}`);
    const plan = { contexts, contextUrl: "http://x", dockerfile: "Dockerfile", buildArgs: {}, labels: {}, noCache: false, imageName: "x" };
    expect(frontendAttrs(plan)).toMatchObject({ "context:shared": "input:shared", "context:base": "docker-image://x" });
    const { shared, ...others } = frontendInputs(plan);
    expect(others).toEqual({});
    expect(Buffer.from(shared!.def[0]!).toString()).toContain(`http://mirror/${folder.digest}`);
  });
});
