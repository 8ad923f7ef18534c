import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { settingsSchema } from "../../../config/settings.ts";
import { defaultSettings, instanceId, ipv4Pools, ipv6PoolOf, preferredPorts } from "../../../stack/default-settings.ts";
import { caBundleOf, existingSettings, freeIpv4Pool, hostIdOf, resolveSettings } from "../../../stack/settings.ts";

const tools = { binDir: "/cache/bin", shareDir: "/cache/share" };
const instance = {
  dataDir: "/var/lib/slipway",
  runDir: "/run/slipway/x",
  hostId: "host",
  tools,
  ports: preferredPorts,
  s3Keys: { accessKeyId: "key", secretAccessKey: "secret" },
  ipv4Pool: "10.64.0.0/16",
};

let dataDir = "";
beforeEach(async () => {
  dataDir = await mkdtemp(path.join(tmpdir(), "slipway-settings-"));
});
afterEach(async () => await rm(dataDir, { recursive: true }));

test("default settings satisfy the schema", () => {
  expect(settingsSchema.parse(defaultSettings(instance))).toEqual(defaultSettings(instance));
});

test("a containerd of the operator is not managed", () => {
  const { containerd } = defaultSettings({ ...instance, containerdSocket: "/run/containerd/containerd.sock" });
  expect(containerd).toMatchObject({ socket: "/run/containerd/containerd.sock", managed: false });
});

test("the same data folder is the same instance, another folder is another", () => {
  expect(instanceId("/a")).toBe(instanceId("/a"));
  expect(instanceId("/a")).not.toBe(instanceId("/b"));
  expect(instanceId("/a")).toMatch(/^[0-9a-f]{8}$/);
});

test("an instance's IPv4 pools are the 64 /16 networks of 10.64.0.0/10", () => {
  const pools = ipv4Pools("deadbeef");
  expect(new Set(pools).size).toBe(64);
  expect(pools.every((pool) => /^10\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.0\.0\/16$/.test(pool))).toBe(true);
});

test("an IPv4 pool with an address of the host is passed over", () => {
  const [first, second] = ipv4Pools("deadbeef");
  expect(freeIpv4Pool("deadbeef", [])).toBe(first);
  expect(freeIpv4Pool("deadbeef", [{ link: "eth0", address: first!.replace("0.0/16", "3.1") }])).toBe(second);
});

test("an IPv6 pool is a unique local /48", () => {
  expect(ipv6PoolOf("deadbeef")).toMatch(/^fd[0-9a-f]{2}:[0-9a-f]{4}:[0-9a-f]{4}::\/48$/);
});

test("any host name gives a valid host id", () => {
  expect(hostIdOf("Build-7.example.COM")).toBe("build-7-example-com");
  expect(hostIdOf("--ä--")).toBe("host");
  expect(hostIdOf("x".repeat(100))).toHaveLength(63);
});

test("the CA bundle is the first named file that exists", () => {
  const here = import.meta.filename;
  expect(caBundleOf({ SSL_CERT_FILE: "/nowhere.pem", NODE_EXTRA_CA_CERTS: here })).toBe(here);
  expect(caBundleOf({ SLIPWAY_CA_BUNDLE: "" })).toBeUndefined();
});

test("settings are written once, for their owner only, and stay as they are", async () => {
  const options = { dataDir, ports: "any" } as const;
  const first = await resolveSettings(options, tools, {});
  const again = await resolveSettings(options, tools, {});
  expect(first.changed).toBe(true);
  expect(again).toEqual({ settings: first.settings, changed: false });
  expect(first.settings.mirror.auth).toBe("tokens");
  expect(existingSettings({ dataDir })).toEqual(first.settings);
  expect((await stat(path.join(dataDir, "settings.json"))).mode & 0o777).toBe(0o600);
});

test("settings of before builders could be reached get a gate on the loopback, and keep the rest", async () => {
  const options = { dataDir, ports: "any" } as const;
  const { settings } = await resolveSettings(options, tools, {});
  const { gate: _gate, ...builder } = settings.builder;
  await writeFile(path.join(dataDir, "settings.json"), JSON.stringify({ ...settings, builder }));
  const found = await resolveSettings(options, tools, {});
  const listen = { host: "127.0.0.1", port: expect.any(Number) as number };
  expect(found).toEqual({ settings: { ...settings, builder: { ...builder, gate: { listen } } }, changed: true });
});

test("an existing containerd is taken from the option or the environment, and cannot be exchanged later", async () => {
  const env = { SLIPWAY_CONTAINERD: "/run/containerd/containerd.sock" };
  const { settings } = await resolveSettings({ dataDir, ports: "any" }, tools, env);
  expect(settings.containerd).toMatchObject({ socket: "/run/containerd/containerd.sock", managed: false });
  expect((await resolveSettings({ dataDir }, tools, {})).settings).toEqual(settings);
  await expect(resolveSettings({ dataDir, containerdSocket: "/other.sock" }, tools, env)).rejects.toThrow(
    /Cannot use containerd at "\/other.sock": .* has the one at "\/run\/containerd\/containerd.sock".*down --purge/,
  );
});

test("settings that are not accepted are not written", async () => {
  const refused = resolveSettings({ dataDir, ports: "any" }, tools, {}, () => Promise.reject(new Error("refused")));
  await expect(refused).rejects.toThrow("refused");
  expect(existingSettings({ dataDir })).toBeUndefined();
});

test("a new set of tools and a new CA bundle change the settings and nothing else", async () => {
  const options = { dataDir, ports: "any" } as const;
  const { settings } = await resolveSettings(options, tools, {});
  const newTools = { binDir: "/new/bin", shareDir: "/new/share" };
  const updated = await resolveSettings(options, newTools, { SSL_CERT_FILE: import.meta.filename });
  expect(updated).toEqual({ settings: { ...settings, tools: newTools, caBundle: import.meta.filename }, changed: true });
});

test("every instance has a secret of its own", async () => {
  const other = await mkdtemp(path.join(tmpdir(), "slipway-settings-"));
  try {
    const one = await resolveSettings({ dataDir, ports: "any" }, tools, {});
    const two = await resolveSettings({ dataDir: other, ports: "any" }, tools, {});
    expect(one.settings.s3.secretAccessKey).not.toBe(two.settings.s3.secretAccessKey);
    expect(one.settings.instance).not.toBe(two.settings.instance);
  } finally {
    await rm(other, { recursive: true });
  }
});
