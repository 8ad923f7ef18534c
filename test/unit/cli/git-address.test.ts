import { expect, test } from "vitest";
import { parseGitAddress, withoutLogin } from "../../../cli/source/git-address.ts";

test.each([
  ["https://example.com/a/b.git", { url: "https://example.com/a/b.git" }],
  ["https://example.com/b.git#main", { url: "https://example.com/b.git", ref: "main" }],
  ["https://example.com/b.git#v1.2:apps/web", { url: "https://example.com/b.git", ref: "v1.2", subdir: "apps/web" }],
  ["https://example.com/b.git#:apps/web", { url: "https://example.com/b.git", subdir: "apps/web" }],
  ["git@example.com:a/b.git#main", { url: "git@example.com:a/b.git", ref: "main" }],
  ["ssh://git@example.com:22/a/b.git", { url: "ssh://git@example.com:22/a/b.git" }],
])("%s is a repository", (text, expected) => {
  expect(parseGitAddress(text)).toEqual(expected);
});

test.each([
  ".",
  "../web",
  "/srv/app.git",
  "web.git",
  "https://example.com/a.tar",
  "docker-image://x",
  "file:///srv/a.git",
  "ssh://-oProxyCommand=x/a",
])("%s is none", (text) => {
  expect(parseGitAddress(text)).toBeUndefined();
});

test.each(["#--upload-pack=x", "#a b", "#a..b", "#main:../up", "#main:/etc"])("%s behind a repository is refused", (fragment) => {
  expect(() => parseGitAddress(`https://me:s3cret@example.com/b.git${fragment}`)).toThrow(/^Cannot use (?!.*s3cret)/);
});

test("logins are taken out of whatever is shown", () => {
  expect(withoutLogin("fatal: unable to access 'https://me:s3cret@example.com/b.git/': 403")).toBe(
    "fatal: unable to access 'https://example.com/b.git/': 403",
  );
});
