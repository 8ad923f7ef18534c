import { readFileSync } from "node:fs";
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
