import { expect, test } from "vitest";
import { configArgument } from "../../../containerd/config-file.ts";
import { isNewEnough } from "../../../stack/existing-containerd.ts";

test.each([
  ["v2.4.2", true],
  ["2.2.0", true],
  ["v2.2.0-rc.1", true],
  ["v2.1.9", false],
  ["1.7.27", false],
  ["1.6.20~ds1", false],
  ["v2.10.0+fips", true],
  // Debian's and a developer's own builds do not always know their number
  ["unknown", true],
])("containerd %s can be used: %s", (version, usable) => {
  expect(isNewEnough(version)).toBe(usable);
});

test.each([
  [["containerd", "--config", "/a.toml"], "/a.toml"],
  [["containerd", "-c", "/a.toml", ""], "/a.toml"],
  [["containerd", "--config=/a.toml"], "/a.toml"],
  [["containerd", "--root", "/r"], undefined],
])("%j reads its configuration from %s", (argv, file) => {
  expect(configArgument(argv)).toBe(file);
});
