import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { cliReference, helpPages } from "../../../cli/program/help-pages.ts";

const pages = helpPages();

test.each(pages)("$name --help is as it was last agreed", async ({ name, text }) => {
  await expect(text).toMatchFileSnapshot(`help/${name.replaceAll(" ", "-")}.txt`);
});

test("every command that does something has exactly one example", () => {
  const groups = new Set(pages.map(({ name }) => name).filter((name) => pages.some((page) => page.name.startsWith(`${name} `))));
  for (const { name, text } of pages.filter((page) => !groups.has(page.name))) {
    expect([name, text.match(/^Example:$/gm)?.length]).toEqual([name, 1]);
    expect(text).toMatch(new RegExp(`\\n  \\$ (sudo )?${name}`));
  }
});

test("docs/cli.md says what --help says", () => {
  const written = readFileSync(new URL("../../../docs/cli.md", import.meta.url), "utf8");
  expect(written, "write it anew: node cli/program/write-reference.ts").toBe(cliReference(pages));
});

test("--version, -V and the command print the same line", () => {
  const launcher = fileURLToPath(new URL("../../../cli/slipway.mjs", import.meta.url));
  const [line, ...others] = ["version", "--version", "-V"].map((word) => execFileSync(launcher, [word], { encoding: "utf8" }));
  expect(line).toMatch(/^slipway \d+\.\d+\.\d+ \(node v\d+\.\d+\.\d+\)\n$/);
  expect(others).toEqual([line, line]);
});
