import { describe, expect, test } from "vitest";
import { parseIgnorePatterns } from "../../../cli/source/ignore-patterns.ts";

describe("parseIgnorePatterns", () => {
  // cases of Docker's own matcher (moby/patternmatcher, TestMatches)
  test.each<[string, string, boolean]>([
    ["**", "file", true],
    ["**", "dir/file", true],
    ["**/", "file", true],
    ["**/**", "dir/file", true],
    ["dir/**", "dir/file", true],
    ["dir/**", "dir/dir2/file", true],
    ["**/dir", "dir", true],
    ["**/dir", "dir/file", true],
    ["**/dir2/*", "dir/dir2/file", true],
    ["**/dir2/*", "dir/dir2/dir2/file", true],
    ["**/dir2/**", "dir/dir2/dir2/file", true],
    ["**file", "file", true],
    ["**file", "dir/file", true],
    ["**/file", "dir/file", true],
    ["**/file", "dir/dir/file", true],
    ["**/file*", "dir/dir/file.txt", true],
    ["**/file*txt", "dir/dir/file.txt", true],
    ["**/file*.txt*", "dir/dir/file.txt", true],
    ["**/**/*.txt", "dir/dir/file.txt", true],
    ["**/**/*.txt2", "dir/dir/file.txt", false],
    ["**/*.txt", "file.txt", true],
    ["**/**/*.txt", "file.txt", true],
    ["a**/*.txt", "a/file.txt", true],
    ["a**/*.txt", "a/dir/file.txt", true],
    ["a/*.txt", "a/dir/file.txt", false],
    ["a/*.txt", "a/file.txt", true],
    ["a/*.txt**", "a/file.txt", true],
    ["a[b-d]e", "ae", false],
    ["a[b-d]e", "ace", true],
    ["a[b-d]e", "aae", false],
    ["a[^b-d]e", "aze", true],
    [".*", ".foo", true],
    [".*", "foo", false],
    ["abc.def", "abcdef", false],
    ["abc.def", "abc.def", true],
    ["abc.def", "abcZdef", false],
    ["abc?def", "abcZdef", true],
    ["abc?def", "abcdef", false],
    ["a\\\\", "a\\", true],
    ["**/foo/bar", "foo/bar", true],
    ["**/foo/bar", "dir/foo/bar", true],
    ["**/foo/bar", "dir/dir2/foo/bar", true],
    ["abc/**", "abc", false],
    ["abc/**", "abc/def", true],
    ["abc/**", "abc/def/ghi", true],
    ["**/.foo", ".foo", true],
    ["**/.foo", "bar.foo", false],
    ["a(b)c/def", "a(b)c/def", true],
    ["a.|)$(}+{bc", "a.|)$(}+{bc", true],
    ["dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", true],
    ["dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", true],
  ])("%j on %j: ignored is %j", (pattern, path, ignored) => {
    expect(parseIgnorePatterns(pattern).ignores(path)).toBe(ignored);
  });

  test.each<[string, string, boolean]>([
    ["/node_modules", "node_modules/a/b.js", true],
    ["./dist/", "dist/a", true],
    ["node_modules", "web/node_modules/a.js", false],
    ["**/node_modules", "web/node_modules/a.js", true],
    ["# dist", "dist", false],
    ["  dist  ", "dist", true],
    ["\uFEFFdist", "dist", true],
    ["a/../dist", "dist", true],
    ["docs\n!docs/README.md", "docs/README.md", false],
    ["docs\n!docs/README.md", "docs/other.md", true],
    ["*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true],
    ["*.md\n!README*.md\nREADME-secret.md", "README.md", false],
    ["*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false],
    ["*\n!src", "src/a/b.ts", false],
    ["*\n!src\nsrc/**/*.test.ts", "src/a/b.test.ts", true],
  ])("the lines %j on %j: ignored is %j", (text, path, ignored) => {
    expect(parseIgnorePatterns(text).ignores(path)).toBe(ignored);
  });

  test("a malformed pattern is named", () => {
    expect(() => parseIgnorePatterns("ok\n[")).toThrow('Cannot read ignore pattern "["');
    expect(() => parseIgnorePatterns("!")).toThrow('expected a path after "!"');
  });
});
