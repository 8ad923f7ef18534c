import { expect, test } from "vitest";
import { isOrgName, orgNameMaxLength } from "../../../config/org-name.ts";
import { defaultSettings, preferredPorts } from "../../../stack/default-settings.ts";
import { longestSocket, requireShortSockets } from "../../../stack/socket-paths.ts";

const settingsIn = (runDir: string) =>
  defaultSettings({
    dataDir: "/var/lib/slipway",
    runDir,
    hostId: "host",
    tools: { binDir: "/bin", shareDir: "/share" },
    ports: preferredPorts,
    s3Keys: { accessKeyId: "key", secretAccessKey: "secret" },
    ipv4Pool: "10.64.0.0/16",
  });

test("the default run folder leaves room for every org", () => {
  expect(() => requireShortSockets(settingsIn("/run/slipway/01234567"))).not.toThrow();
});

test("the longest socket may have 107 bytes and not one more", () => {
  const longest = settingsIn(`/${"r".repeat(41)}`);
  expect(longestSocket(longest)).toHaveLength(107);
  expect(() => requireShortSockets(longest)).not.toThrow();
  expect(() => requireShortSockets(settingsIn(`/${"r".repeat(42)}`))).toThrow(/is 43 bytes long, expected at most 42/);
  expect(() => requireShortSockets(settingsIn(`/${"ü".repeat(21)}`))).toThrow(/is 43 bytes long/);
});

test("a containerd whose socket nobody can connect to is refused", () => {
  const settings = settingsIn("/run/slipway");
  const containerd = { ...settings.containerd, socket: `/${"s".repeat(107)}`, managed: false };
  expect(() => requireShortSockets({ ...settings, containerd })).toThrow(/is 108 bytes long, expected at most 107/);
});

test.each([
  ["acme", true],
  ["a-1", true],
  ["x".repeat(orgNameMaxLength), true],
  ["x".repeat(orgNameMaxLength + 1), false],
  ["Acme", false],
  ["-a", false],
  ["a--b", false],
  ["../a", false],
  ["", false],
])("%j names an org: %s", (name, is) => {
  expect(isOrgName(name)).toBe(is);
});
