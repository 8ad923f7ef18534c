import { describe, expect, it } from "vitest";
import { buildOptions } from "../../../activities/build-options.ts";
import { BuildRefused } from "../../../builder/buildkit/errors.ts";
import { frontendAttrs } from "../../../builder/buildkit/frontend-attrs.ts";
import { applyOptions } from "../../../cli/deploy/project.ts";
import { parseAppConfig } from "../../../config/app-config.ts";

const { config } = parseAppConfig('app = "web"\n', "slipway.toml");

function optionsOf(allow: readonly string[], host: Parameters<typeof buildOptions>[1] = {}) {
  const { build } = applyOptions(config, { allow });
  return buildOptions({ build, labels: {}, noCache: false }, host);
}

describe("what a build may have beyond its sandbox", () => {
  it("is what the deploy asks for and the host allows", () => {
    expect(optionsOf(["security.insecure"], { entitlements: ["network.host", "security.insecure"] }).entitlements).toEqual([
      "security.insecure",
    ]);
  });

  it("is nothing that was not asked for", () => {
    expect(optionsOf([], { entitlements: ["security.insecure"] }).entitlements).toEqual([]);
  });

  it("is refused, with what the host allows, where it allows something else or nothing", () => {
    expect(() => optionsOf(["security.insecure"], { entitlements: ["network.host"] })).toThrow(
      new BuildRefused('Cannot allow "security.insecure": builder.entitlements of the host\'s settings allows network.host'),
    );
    expect(() => optionsOf(["network.host"])).toThrow(/allows none$/);
  });

  it("has a name that BuildKit knows", () => {
    expect(() => optionsOf(["root"])).toThrow('Cannot allow "root": expected network.host or security.insecure');
  });
});

describe("a line that names a frontend", () => {
  const cmdlineOf = (host: Parameters<typeof buildOptions>[1]) =>
    frontendAttrs({ ...optionsOf([], host), contextUrl: "http://x", imageName: "x" }).cmdline;

  it("is ignored, unless the host allows frontends", () => {
    expect(cmdlineOf({})).toBe("docker/dockerfile");
    expect(cmdlineOf({ frontends: ["docker.io/docker/dockerfile"] })).toBeUndefined();
  });
});
