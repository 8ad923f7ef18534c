import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { stat, statfs } from "node:fs/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BuildFailed } from "../../../builder/buildkit/errors.ts";
import type { Builders } from "../../../builder/builders.ts";
import { pruneCache } from "../../../builder/cache-usage.ts";
import { instancePaths } from "../../../config/paths.ts";
import { type BuilderLab, openBuilderLab } from "./builder-lab.ts";

const run = promisify(execFile);
const signal = AbortSignal.timeout(280_000);
const volumeBytes = 128 * 1024 * 1024;

let builder: BuilderLab;
let builders: Builders;
let address: string;
let cache: string;

beforeAll(async () => {
  builder = await openBuilderLab();
  builders = builder.open({ whenIdle: "off", volumeBytes });
  cache = instancePaths.builderCache(builder.settings, builder.org);
  ({ address } = await builders.wake(builder.org, { signal }));
});

afterAll(async () => await builder?.[Symbol.asyncDispose]());

async function buildsWithCache(): Promise<void> {
  const { steps, cachedSteps } = await builder.build(address, `RUN echo cached\nRUN echo ${crypto.randomUUID()}\n`);
  expect(cachedSteps).toBe(steps - 1);
}

describe("a cache of a fixed size", () => {
  it("fails the build that wants more, says so, and builds again when it was pruned", async () => {
    await builder.build(address, "RUN echo cached\n");
    const greedy = builder.build(address, "RUN echo cached\nRUN dd if=/dev/zero of=/filler bs=1M count=256\n");
    const error = await greedy.then(
      () => undefined,
      (failure: unknown) => failure,
    );
    expect(error).toBeInstanceOf(BuildFailed);
    expect(String(error)).toMatch(/the builder's disk is full/);
    expect((await builder.machine())?.state).toBe("running");
    // what the message says; BuildKit's own collection comes a minute later
    await pruneCache(address, { all: true }, signal);
    await builder.build(address, "RUN echo cached\n");
    await buildsWithCache();
  });

  it("is no larger on the host than it may be, and gives back what is deleted", async () => {
    const { blocks, bsize } = await statfs(cache);
    expect(blocks * bsize).toBeLessThanOrEqual(volumeBytes);
    const takenBytes = async () => (await stat(`${cache}.img`)).blocks * 512;
    expect(await takenBytes()).toBeLessThanOrEqual(volumeBytes);
    // blocks are discarded a moment after their files
    await expect.poll(takenBytes, { timeout: 60_000 }).toBeLessThan(volumeBytes / 2);
  });

  it("is there again after a reboot of the host, which mounts nothing of ours", async () => {
    await builders.sleep(builder.org, signal);
    await run("umount", [cache]);
    ({ address } = await builders.wake(builder.org, { signal }));
    await buildsWithCache();
  });

  it("goes as a whole when it is dropped", async () => {
    await builders.discard(builder.org, { dropCache: true, force: true }, signal);
    expect(existsSync(`${cache}.img`)).toBe(false);
    expect(existsSync(cache)).toBe(false);
  });
});
