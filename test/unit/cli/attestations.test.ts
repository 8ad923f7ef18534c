import { describe, expect, test } from "vitest";
import { buildOptions } from "../../../activities/build-options.ts";
import { frontendAttrs } from "../../../builder/buildkit/frontend-attrs.ts";
import { chooseAttestations } from "../../../cli/deploy/attestations.ts";
import { parseAppConfig } from "../../../config/app-config.ts";

describe("attestations", () => {
  test.each([
    [{}, {}],
    [{ provenance: true }, { provenance: "min" }],
    [{ provenance: "mode=max" }, { provenance: "max" }],
    [{ provenance: "min" }, { provenance: "min" }],
    [{ provenance: "false" }, {}],
    [{ sbom: true }, { sbom: {} }],
    [{ sbom: "generator=docker.io/acme/scan:1" }, { sbom: { generator: "docker.io/acme/scan:1" } }],
    [{ sbom: "false" }, {}],
  ] as const)("the options %j mean %j", (options, expected) => {
    expect(chooseAttestations(options, {})).toEqual(expected);
  });

  test("options go before what slipway.toml says", () => {
    const { build } = parseAppConfig('app = "web"\n[build]\nprovenance = true\nsbom = "docker.io/acme/scan:1"', "slipway.toml").config;
    expect(chooseAttestations({}, build)).toEqual({ provenance: "min", sbom: { generator: "docker.io/acme/scan:1" } });
    expect(chooseAttestations({ provenance: "false", sbom: true }, build)).toEqual({ sbom: {} });
  });

  test.each([{ provenance: "most" }, { provenance: "." }, { sbom: "generator=" }, { sbom: 'generator=x,"y"' }, { sbom: "." }])(
    "what cannot be read is refused: %j",
    (options) => {
      expect(() => chooseAttestations(options, {})).toThrow(/^Cannot read --/);
    },
  );

  test("the operator's generator serves where a build names none", () => {
    const attrs = (sbom: { generator?: string } | undefined, ofOperator?: string) => {
      const build = { dockerfile: "Dockerfile", args: {}, ...(sbom === undefined ? {} : { sbom }) };
      const options = buildOptions({ build, labels: {}, noCache: false }, ofOperator === undefined ? {} : { sbomGenerator: ofOperator });
      return frontendAttrs({ ...options, contextUrl: "http://x", imageName: "x" })["attest:sbom"];
    };
    expect(attrs({}, "acme/scan")).toBe("generator=acme/scan");
    expect(attrs({ generator: "own" }, "acme/scan")).toBe("generator=own");
    expect(attrs({})).toBe("");
    expect(attrs(undefined, "acme/scan")).toBeUndefined();
  });
});
