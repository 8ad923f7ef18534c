import { describe, expect, it } from "vitest";
import { createAnnouncer } from "../../../mirror/peers/announcer.ts";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";

const repository = parseRepository("acme/web");
const digest = digestOf("image");
const self = { host: "me", url: "http://me" };

function announcer(answer: (attempt: number) => Promise<void>) {
  const said: string[] = [];
  const warnings: string[] = [];
  const client = {
    put: async (_repository: unknown, about: string) => {
      said.push(about);
      await answer(said.length);
    },
  };
  const log = { info: () => undefined, warn: (_fields: object, message: string) => void warnings.push(message), error: () => undefined };
  return { said, warnings, ...createAnnouncer(client, self, log, [0, 0]) };
}

describe("telling the registry what this host has", () => {
  it("is done once, however often it is read", async () => {
    const { said, has } = announcer(async () => undefined);
    has(repository, digest);
    has(repository, digest);
    has(repository, digestOf("other"));
    await expect.poll(() => said).toEqual([digest, digestOf("other")]);
  });

  it("is tried again when it fails", async () => {
    const { said, warnings, has } = announcer(async (attempt) => {
      if (attempt < 3) throw new Error("down");
    });
    has(repository, digest);
    await expect.poll(() => said).toHaveLength(3);
    expect(warnings).toEqual([]);
  });

  it("is given up after some tries, and begins anew when it is read again", async () => {
    const { said, warnings, has } = announcer(async (attempt) => {
      if (attempt <= 3) throw new Error("down");
    });
    has(repository, digest);
    await expect.poll(() => warnings).toHaveLength(1);
    has(repository, digest);
    await expect.poll(() => said).toHaveLength(4);
    expect(warnings).toHaveLength(1);
  });

  it("does not pile up while the registry does not answer", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { said, has } = announcer(() => promise);
    for (let index = 0; index < 1_000; index += 1) has(repository, digestOf(`image ${index}`));
    resolve();
    await expect.poll(() => said).toHaveLength(500);
    has(repository, digestOf("image 999"));
    await expect.poll(() => said.at(-1)).toBe(digestOf("image 999"));
  });
});
