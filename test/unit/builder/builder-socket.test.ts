import { once } from "node:events";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { type Server, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connectBuilder } from "../../../builder/gate/builder-socket.ts";

const signal = AbortSignal.timeout(10_000);

describe("the way to a builder's socket", () => {
  let dir: string;
  let server: Server;
  const at = (name: string) => path.join(dir, name);

  beforeEach(async () => {
    dir = await mkdtemp(path.join(tmpdir(), "builder-socket-"));
    server = createServer((client) => client.end("hello")).listen(at("real.sock"));
    await once(server, "listening");
  });
  afterEach(async () => {
    await new Promise((resolve) => server.close(resolve));
    await rm(dir, { recursive: true, force: true });
  });

  it("leads to what listens there", async () => {
    expect(await text(await connectBuilder(at("real.sock"), signal))).toBe("hello");
  });

  it("does not follow a link that the builder put in its place to another socket of the host", async () => {
    await symlink(at("real.sock"), at("buildkitd.sock"));
    await expect(connectBuilder(at("buildkitd.sock"), signal)).rejects.toThrow(`"${at("buildkitd.sock")}" is no socket`);
  });

  it("ends at what is no socket, or at nothing", async () => {
    await writeFile(at("file"), "");
    await expect(connectBuilder(at("file"), signal)).rejects.toThrow("is no socket");
    await expect(connectBuilder(at("none"), signal)).rejects.toThrow("ENOENT");
  });
});
