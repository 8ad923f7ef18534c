import { describe, expect, test } from "vitest";
import { AppConfigError, parseAppConfig } from "../../../config/app-config.ts";

const parse = (text: string) => parseAppConfig(text, "slipway.toml");
const faultsOf = (text: string): readonly string[] => {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof AppConfigError) return error.faults;
    throw error;
  }
  return [];
};

describe("parseAppConfig", () => {
  test("an app's name is all that is needed", () => {
    expect(parse('app = "web"')).toEqual({
      config: {
        app: "web",
        env: {},
        build: { dockerfile: "Dockerfile", args: {} },
        groups: [{ name: "app", count: 1, memoryMb: 256, cpus: 1 }],
        waitTimeoutMs: 300_000,
        killTimeoutMs: 5000,
        killSignal: "SIGINT",
      },
      contexts: {},
      warnings: [],
    });
  });

  test("every supported key reaches the resolved config", () => {
    const { config, ignoreFile, warnings } = parse(`
app = "web"
kill_signal = "SIGTERM"
kill_timeout = 30
[build]
dockerfile = "deploy/Dockerfile"
build-target = "run"
ignorefile = "deploy/ignore"
platform = "linux/amd64"
[build.args]
VERSION = 3
[deploy]
strategy = "bluegreen"
wait_timeout = "1m30s"
[env]
LEVEL = "info"
DEBUG = true
[processes]
app = "node 'my server.js' --port=8080"
[http_service]
internal_port = 3000
processes = ["app"]
[[http_service.checks]]
interval = "2s"
timeout = "750ms"
grace_period = "10s"
method = "head"
path = "/healthz?deep=1"
[[vm]]
memory = "1gb"
cpus = 2
`);
    expect(config).toEqual({
      app: "web",
      env: { LEVEL: "info", DEBUG: "true" },
      build: { dockerfile: "deploy/Dockerfile", target: "run", args: { VERSION: "3" }, platform: "linux/amd64" },
      groups: [{ name: "app", command: ["node", "my server.js", "--port=8080"], count: 1, memoryMb: 1024, cpus: 2 }],
      http: {
        internalPort: 3000,
        checks: [{ path: "/healthz?deep=1", port: 3000, method: "HEAD", intervalMs: 2000, timeoutMs: 750, gracePeriodMs: 10_000 }],
      },
      waitTimeoutMs: 90_000,
      killTimeoutMs: 30_000,
      killSignal: "SIGTERM",
    });
    expect(ignoreFile).toBe("deploy/ignore");
    expect(warnings).toEqual([]);
  });

  test("a service without checks is asked for its root", () => {
    expect(parse('app = "web"\n[http_service]\ninternal_port = 80').config.http?.checks).toEqual([
      { path: "/", port: 80, method: "GET", intervalMs: 500, timeoutMs: 5000, gracePeriodMs: 5000 },
    ]);
  });

  test("an empty list of checks switches checking off and says so", () => {
    const { config, warnings } = parse('app = "web"\n[http_service]\nchecks = []');
    expect(config.http?.checks).toEqual([]);
    expect(warnings).toEqual([expect.stringContaining("http_service.checks is empty")]);
  });

  test("one [vm] table does as well as a list of one", () => {
    expect(parse('app = "web"\n[vm]\nmemory = "512mb"').config.groups[0]?.memoryMb).toBe(512);
  });

  test("fly.toml keys without effect are named in warnings", () => {
    const { warnings } = parse('app = "web"\nprimary_region = "ams"\n[http_service]\nforce_https = true\nauto_stop_machines = "stop"');
    expect(warnings).toEqual([
      "slipway.toml: primary_region has no effect here and is ignored",
      "slipway.toml: http_service.force_https has no effect here and is ignored",
      "slipway.toml: http_service.auto_stop_machines has no effect here and is ignored",
    ]);
  });

  test("keys whose loss would change what the app does are refused with the reason", () => {
    expect(faultsOf('app = "web"\n[[mounts]]\nsource = "data"\n[deploy]\nrelease_command = "migrate"\n[[services]]\nport = 1')).toEqual([
      expect.stringMatching(/^slipway.toml:2: mounts: not supported: volumes/),
      expect.stringMatching(/^slipway.toml:5: deploy.release_command: not supported/),
      expect.stringMatching(/^slipway.toml:6: services: not supported/),
    ]);
  });

  test("every fault is reported at once, with line, key, expected and found", () => {
    expect(
      faultsOf(`app = "Web"
colour = "red"
[http_service]
internal_port = "80"
[[http_service.checks]]
interval = "often"
[[http_service.checks]]
path = "health"
[deploy]
strategy = "canary"
[[vm]]
memory = "lots"
`),
    ).toEqual([
      expect.stringMatching(/^slipway.toml:2: colour: unknown key, expected one of app, kill_signal/),
      expect.stringMatching(/^slipway.toml:1: app: expected at most 40 of lower-case .*, found "Web"$/),
      'slipway.toml:10: deploy.strategy: expected one of rolling, bluegreen, immediate, found "canary"',
      'slipway.toml:4: http_service.internal_port: expected a port from 1 to 65535, found "80"',
      'slipway.toml:6: http_service.checks[0].interval: expected a duration such as "5s" or "1m30s", found "often"',
      'slipway.toml:8: http_service.checks[1].path: expected a path that starts with "/", found "health"',
      'slipway.toml:12: vm[0].memory: expected a memory size such as "512mb" or "1gb", found "lots"',
    ]);
  });

  test.each([
    ["", /^slipway.toml: app: expected the app's name.*, found nothing$/],
    ["app = 7", /^slipway.toml:1: app: expected the app's name.*, found 7$/],
    ['app = "-web"', /found "-web"$/],
    ['app = "web"\nenv = 1', /^slipway.toml:2: env: expected a table, found 1$/],
    ['app = "web"\nenv = { "1A" = "x" }', /^slipway.toml.*: env.1A: expected a name of letters/],
    ['app = "web"\n[env]\nLIST = [1]', /^slipway.toml:3: env.LIST: expected text, a number or a boolean, found \[1\]$/],
    ['app = "web"\nbuild = "x"', /^slipway.toml:2: build: expected a table, found "x"$/],
    ['app = "web"\n[build]\ndockerfile = "../Dockerfile"', /build.dockerfile: expected a relative path inside/],
    ['app = "web"\n[build]\ndokerfile = "x"', /^slipway.toml:3: build.dokerfile: unknown key, expected one of dockerfile, build-target/],
    ['app = "web"\n[build]\nimage = "nginx"', /build.image: not supported: an app is built from its source/],
    ['app = "web"\n[processes]\nworker = "run"', /^slipway.toml:3: processes.worker: only the process group "app"/],
    ['app = "web"\n[processes]\napp = "run \'x"', /processes.app: expected a command line: .*never closed/],
    ['app = "web"\n[http_service]\ninternal_port = 0', /found 0$/],
    ['app = "web"\n[http_service]\ninternal_port = 80.5', /found 80.5$/],
    ['app = "web"\n[[vm]]\ncpus = -1', /vm\[0\].cpus: expected a number of CPUs above 0, found -1$/],
    ['app = "web"\n[[vm]]\n[[vm]]', /vm: expected one table/],
    ['app = "web"\nkill_timeout = true', /kill_timeout: expected a duration .*, found true$/],
    ["app = ", /^slipway.toml:1:\d+: expected TOML/],
    ['app = "a"\napp = "b"', /^slipway.toml:2:\d+: expected TOML/],
  ])("%j is refused", (text, fault) => {
    expect(faultsOf(text)).toEqual([expect.stringMatching(fault)]);
  });
});
