import { describe, expect, it } from "vitest";
import { imageHostName, mirrorPorts } from "../../../config/mirror-ports.ts";

describe("the mirror's ports", () => {
  it.each([
    ["registry.slipway.internal:5000", [5000]],
    ["registry.acme.example:8443", [5000, 8443]],
    ["registry.acme.example", [5000, 443, 80]],
    ["[fd00::1]:443", [5000, 443]],
  ])("of images of %s are %j: its own and where clients go for that name", (imageHost, ports) => {
    expect(mirrorPorts(5000, imageHost)).toEqual(ports);
  });

  it.each([
    ["registry.slipway.internal:5000", "registry.slipway.internal"],
    ["registry.acme.example", "registry.acme.example"],
    ["[fd00::1]:443", "fd00::1"],
    ["10.87.0.1", "10.87.0.1"],
  ])("are not part of the name in %s", (imageHost, name) => {
    expect(imageHostName(imageHost)).toBe(name);
  });
});
