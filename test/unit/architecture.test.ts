import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

/** docs/architecture.md, "Folders": what the values of a folder may be imported from. Types may come from workflows/types.ts anywhere. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  oci: [],
  config: ["oci"],
  proto: [],
  containerd: ["oci", "config", "proto"],
  registry: ["oci", "config"],
  mirror: ["oci", "config", "containerd", "proto"],
  machines: ["oci", "config", "containerd", "proto"],
  builder: ["oci", "config", "containerd", "proto", "machines"],
  workflows: ["oci"],
  activities: ["oci", "config", "containerd", "registry", "mirror", "machines", "builder", "workflows"],
  workers: ["oci", "config", "containerd", "registry", "mirror", "machines", "builder", "workflows", "activities"],
  tools: ["oci", "config"],
  stack: ["oci", "config", "containerd", "machines", "mirror", "registry", "tools", "workflows"],
  cli: ["oci", "config", "stack", "tools", "workflows", "registry"],
};

type Import = { readonly file: string; readonly target: string };

function valueImports(folder: string): Import[] {
  return readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.startsWith("gen/"))
    .flatMap((file) => importsOf(path.join(folder, file)));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(path.join(root, file), "utf8");
  const statements = text.matchAll(/^(?:import|export)\s+(?!type\b)([^;]*?)\sfrom\s+"(\.[^"]+)";|\bimport\("(\.[^"]+)"\)/gm);
  return [...statements]
    .filter(([, names]) => names === undefined || !isTypesOnly(names))
    .map(([, , from, dynamic]) => ({ file, target: path.join(path.dirname(file), from ?? dynamic!).split(path.sep)[0]! }));
}

/** `{ type A, type B }` imports no value. */
function isTypesOnly(names: string): boolean {
  const inner = /^\{([^}]*)\}$/s.exec(names.trim())?.[1];
  return inner !== undefined && inner.split(",").every((name) => name.trim() === "" || name.trim().startsWith("type "));
}

describe("the folders", () => {
  it.each(Object.keys(allowed))("%s imports values only from where docs/architecture.md allows", (folder) => {
    const forbidden = valueImports(folder).filter(({ target }) => target !== folder && !allowed[folder]!.includes(target));
    expect(forbidden).toEqual([]);
  });

  it("are read as a whole: the composition roots import from every service", () => {
    const targets = new Set(valueImports("workers").map(({ target }) => target));
    expect([...targets]).toEqual(
      expect.arrayContaining(["activities", "builder", "config", "containerd", "machines", "mirror", "registry"]),
    );
  });

  it("that are called utils, common, helpers or lib do not exist", () => {
    const names = readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
    expect(names.filter((name) => ["utils", "common", "helpers", "lib"].includes(name))).toEqual([]);
  });
});
