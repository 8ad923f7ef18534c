import { parse } from "smol-toml";
import { expect, test } from "vitest";
import { processNames } from "../../../config/ready.ts";
import { defaultSettings, preferredPorts } from "../../../stack/default-settings.ts";
import { containerdConfig } from "../../../stack/engines.ts";
import { stackEnvironment } from "../../../stack/environment.ts";
import { containerdOptions, stackProcesses } from "../../../stack/processes.ts";
import { stopGroups } from "../../../stack/stop-order.ts";
import { planFingerprint } from "../../../stack/supervisor.ts";
import { backoffMs } from "../../../stack/supervisor.ts";

const settings = defaultSettings({
  dataDir: "/var/lib/slipway",
  runDir: "/run/slipway/x",
  hostId: "host",
  tools: { binDir: "/cache/bin", shareDir: "/cache/share" },
  ports: preferredPorts,
  s3Keys: { accessKeyId: "key", secretAccessKey: "the-secret" },
  ipv4Pool: "10.64.0.0/16",
});
const context = { settingsFile: "/var/lib/slipway/settings.json", entryPoint: (module: string) => ["node", `/app/${module}.ts`] as const };
const specs = stackProcesses(settings, context);
const nameOf = ({ name }: { name: string }) => name;

test("one machine runs every process", () => {
  expect(specs.map(nameOf).toSorted()).toEqual([...processNames].toSorted());
});

test("no secret stands in a process argument", () => {
  expect(JSON.stringify(specs.map(({ argv }) => argv))).not.toContain("the-secret");
});

test("each of our processes is told where the settings are and announces itself in the run folder", () => {
  const host = specs.find(({ name }) => name === "host");
  expect(host).toMatchObject({
    argv: ["node", "/app/workers/host.ts"],
    env: { SLIPWAY_SETTINGS: context.settingsFile },
    after: ["temporal", "containerd"],
    ready: [{ kind: "file", file: "/run/slipway/x/host.ready" }],
  });
});

test("engines listen on the loopback only", () => {
  const s3 = specs.find(({ name }) => name === "s3");
  const temporal = specs.find(({ name }) => name === "temporal");
  expect(s3?.argv).toContain("--port=127.0.0.1:7480");
  expect(temporal?.argv).toContain("--ip=127.0.0.1");
});

test("the Temporal server registers every search attribute as a keyword", () => {
  const temporal = specs.find(({ name }) => name === "temporal");
  expect(temporal?.argv.filter((arg) => arg.startsWith("--search-attribute="))).toEqual(
    ["SlipwayOrg", "SlipwayApp", "SlipwayStage", "SlipwayDigest"].map((name) => `--search-attribute=${name}=Keyword`),
  );
});

test("engines that are elsewhere are neither started nor waited for", () => {
  const { embeddedDir: _s3, ...s3 } = settings.s3;
  const { databaseFile: _temporal, ...temporal } = settings.temporal;
  const elsewhere = { ...settings, s3, temporal, containerd: { ...settings.containerd, managed: false } };
  const own = stackProcesses(elsewhere, context);
  expect(own.map(nameOf)).toEqual(["registry", "mirror", "router", "resolver", "control", "host"]);
  expect(own.flatMap(({ after }) => after)).toEqual([]);
});

test("a process is stopped before those that it needs", () => {
  const groups = stopGroups(specs).map((group) => group.map(nameOf));
  const groupOf = (name: string) => groups.findIndex((group) => group.includes(name));
  for (const { name, after } of specs) for (const needed of after) expect(groupOf(name)).toBeLessThan(groupOf(needed));
  expect(groups.flat()).toHaveLength(specs.length);
});

test("processes that wait for each other are refused", () => {
  const [one, two] = [specs[0]!, specs[1]!];
  expect(() =>
    stopGroups([
      { ...one, after: [two.name] },
      { ...two, after: [one.name] },
    ]),
  ).toThrow("wait for each other");
});

test("our containerd is isolated and shares no path with another", () => {
  const config = parse(containerdConfig(containerdOptions(settings)));
  expect(config).toMatchObject({
    version: 3,
    root: "/var/lib/slipway/containerd",
    state: "/run/slipway/x/containerd",
    grpc: { address: "/run/slipway/x/containerd.sock" },
    plugins: { "io.containerd.metadata.v1.bolt": { content_sharing_policy: "isolated" } },
  });
  expect(config.disabled_plugins).toContain("io.containerd.grpc.v1.cri");
});

test("a plan changes with any argument, any setting and our code", () => {
  const plan = planFingerprint(specs, () => "1");
  expect(planFingerprint(specs, () => "1")).toBe(plan);
  expect(planFingerprint(specs, () => "2")).not.toBe(plan);
  expect(planFingerprint(specs.slice(1), () => "1")).not.toBe(plan);
});

test("restarts begin at once and slow down to ten seconds", () => {
  expect([1, 2, 3, 20].map(backoffMs)).toEqual([100, 200, 400, 10_000]);
});

test("processes get no keys that happen to be in the environment", () => {
  expect(stackEnvironment({ PATH: "/bin", HTTPS_PROXY: "http://proxy", GITHUB_TOKEN: "secret", TEMPORAL_API_KEY: "wanted" })).toEqual({
    PATH: "/bin",
    HTTPS_PROXY: "http://proxy",
    TEMPORAL_API_KEY: "wanted",
  });
});
