import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { accepts } from "../../../stack/probe.ts";

describe("accepts", () => {
  let dir: string;
  let socket: string;
  beforeEach(async () => {
    dir = await mkdtemp(path.join(tmpdir(), "probe-"));
    socket = path.join(dir, "it.sock");
  });
  afterEach(() => rm(dir, { recursive: true }));

  it("says no where no socket is", async () => {
    expect(await accepts({ path: socket })).toBe(false);
  });

  it("sees who listens even if this process is too busy to look before the time is over", async () => {
    const server = net.createServer((connection) => connection.destroy()).listen(socket);
    await once(server, "listening");
    const answer = accepts({ path: socket });
    // the kernel has made the connection; nothing of this process runs until its timer is long due
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_100);
    expect(await answer).toBe(true);
    server.close();
    await once(server, "close");
  });
});
