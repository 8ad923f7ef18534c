import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { readBuildSecrets } from "../../../cli/deploy/build-secrets.ts";

test("a secret comes from the command line, the environment or a file", () => {
  const dir = mkdtempSync(path.join(tmpdir(), "build-secrets-"));
  try {
    writeFileSync(path.join(dir, "npmrc"), "a=b\n");
    const options = { buildSecret: ["ONE=1=2", "TOKEN"], buildSecretFile: [`npmrc=${path.join(dir, "npmrc")}`] };
    const read = readBuildSecrets(options, { TOKEN: "of the environment" });
    expect([...read].map(([name, value]) => [name, value.toString()])).toEqual([
      ["ONE", "1=2"],
      ["TOKEN", "of the environment"],
      ["npmrc", "a=b\n"],
    ]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test.each([
  [{ buildSecret: ["TOKEN"] }, 'Cannot read build secret "TOKEN": expected an environment variable of that name, or NAME=value'],
  [{ buildSecret: ["=canary"] }, 'Cannot use build secret "": expected letters'],
  [{ buildSecret: ["a/b=canary"] }, 'Cannot use build secret "a/b": expected letters'],
  [{ buildSecret: ["HTTP_AUTH_HEADER__api.internal=canary"] }, "and not HTTP_AUTH_HEADER_"],
  [{ buildSecret: ["A=canary", "A=canary"] }, 'Cannot use build secret "A": it is given twice'],
  [{ buildSecretFile: ["npmrc"] }, 'Cannot read --build-secret-file "npmrc": expected NAME=PATH'],
  [{ buildSecretFile: ["npmrc=/nonexistent/npmrc"] }, 'Cannot read build secret file "/nonexistent/npmrc": ENOENT'],
  [{ buildSecret: [`A=${"canary".repeat(50_000)}`] }, "Cannot use build secrets of 300000 bytes: expected at most 262144 together"],
])("what cannot be a secret is refused without its value: %#", (options, message) => {
  expect(() => readBuildSecrets(options, {})).toThrow(message);
  expect(() => readBuildSecrets(options, {})).not.toThrow("canary");
});
