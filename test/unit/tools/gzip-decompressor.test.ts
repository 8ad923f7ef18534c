import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { findGzipDecompressor } from "../../../tools/gzip-decompressor.ts";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "slipway-gzip-"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(dir, { recursive: true });
});

it("names the program that containerd would take: igzip before unpigz", async () => {
  vi.stubEnv("PATH", dir);
  for (const name of ["unpigz", "igzip"]) {
    await writeFile(path.join(dir, name), "");
    await chmod(path.join(dir, name), 0o755);
  }
  expect(await findGzipDecompressor()).toBe(path.join(dir, "igzip"));
});
