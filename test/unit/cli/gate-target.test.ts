import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { gateTarget } from "../../../cli/builder/gate-target.ts";
import { parseListenAddress } from "../../../cli/builder/listen-address.ts";
import { instancePaths } from "../../../config/paths.ts";
import type { Settings } from "../../../config/settings.ts";
import { defaultSettings, preferredPorts } from "../../../stack/default-settings.ts";

const systemToken = `slipway_system_${"s".repeat(40)}`;

describe("the gate that a command goes through", () => {
  let dataDir: string;
  const writeSettings = async (amend: (settings: Settings) => Settings = (settings) => settings) => {
    const settings = defaultSettings({
      dataDir,
      runDir: dataDir,
      hostId: "one",
      tools: { binDir: dataDir, shareDir: dataDir },
      ports: preferredPorts,
      s3Keys: { accessKeyId: "a", secretAccessKey: "b" },
      ipv4Pool: "10.64.0.0/16",
    });
    const amended = amend({ ...settings, registry: { ...settings.registry, systemToken } });
    await writeFile(instancePaths.settings(dataDir), JSON.stringify(amended));
  };

  beforeEach(async () => {
    vi.stubEnv("SLIPWAY_SETTINGS", "");
    dataDir = await mkdtemp(path.join(tmpdir(), "gate-target-"));
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(dataDir, { recursive: true });
  });

  it("is that of the instance here, with the instance's own token", async () => {
    await writeSettings();
    expect(gateTarget({ dataDir }, {})).toMatchObject({
      url: new URL("http://127.0.0.1:5004"),
      org: "default",
      login: { username: "slipway", password: systemToken },
    });
  });

  it("gets the token of SLIPWAY_TOKEN, and the instance's own token only when it is the instance's", async () => {
    await writeSettings();
    const gate = "https://elsewhere.example:5004";
    expect(gateTarget({ dataDir, gate, org: "acme" }, { SLIPWAY_TOKEN: "mine" })).toMatchObject({
      url: new URL(gate),
      org: "acme",
      login: { username: "token", password: "mine" },
    });
    expect(() => gateTarget({ dataDir, gate }, {})).toThrow("expected a deploy token for the whole org in SLIPWAY_TOKEN");
  });

  it("is where the settings say that it is reached, and there is none in settings of before", async () => {
    await writeSettings((settings) => ({
      ...settings,
      builder: { ...settings.builder, gate: { listen: { host: "0.0.0.0", port: 5004 }, url: "https://host.example:443" } },
    }));
    expect(gateTarget({ dataDir }, {}).url.href).toBe("https://host.example/");
    await writeSettings(({ builder: { gate: _gate, ...builder }, ...settings }) => ({ ...settings, builder }));
    expect(() => gateTarget({ dataDir }, {})).toThrow("this instance is of before builders could be reached");
  });

  it.each(["http://host.example:5004", "http://10.0.0.1:5004", "http://127.0.0.1.example", "ftp://127.0.0.1", "host:5004"])(
    "gets no token at %s, where it would travel unencrypted or nowhere",
    (gate) => {
      expect(() => gateTarget({ dataDir, gate }, { SLIPWAY_TOKEN: "mine" })).toThrow(`Cannot use the gate "${gate}"`);
    },
  );
});

describe("where slipway proxy builder listens", () => {
  it.each([
    ["unix:/run/b.sock", { kind: "unix", path: "/run/b.sock" }],
    ["unix:///run/b.sock", { kind: "unix", path: "/run/b.sock" }],
    ["unix:b.sock", { kind: "unix", path: path.resolve("b.sock") }],
    ["tcp", { kind: "tcp", host: "127.0.0.1", port: 0 }],
    ["tcp:1234", { kind: "tcp", host: "127.0.0.1", port: 1234 }],
  ])("%s is understood", (text, address) => {
    expect(parseListenAddress(text)).toEqual(address);
  });

  it.each(["tcp:65536", "tcp:0.0.0.0:1", "unix:", "/run/b.sock", "", `unix:/${"x".repeat(107)}`])("%j is refused", (text) => {
    expect(() => parseListenAddress(text)).toThrow("Cannot listen on");
  });
});
