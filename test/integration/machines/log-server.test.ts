import { appendFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { instancePaths } from "../../../config/paths.ts";
import type { Settings } from "../../../config/settings.ts";
import { createLogServer } from "../../../machines/logs/server.ts";

describe("the log server", () => {
  let settings: Settings;
  let server: FastifyInstance;
  let url: string;
  const build = "ab".repeat(32);

  beforeEach(async () => {
    settings = { dataDir: await mkdtemp(path.join(tmpdir(), "log-server-")) } as Settings;
    server = createLogServer(settings);
    await server.listen({ port: 0, host: "127.0.0.1" });
    url = `http://127.0.0.1:${(server.server.address() as AddressInfo).port}`;
    await mkdir(path.dirname(instancePaths.machineLog(settings, "acme", "web")), { recursive: true });
    await mkdir(path.dirname(instancePaths.buildLog(settings, build)), { recursive: true });
  });
  afterEach(async () => {
    await server.close();
    await rm(settings.dataDir, { recursive: true, force: true });
  });

  const text = async (where: string) => await (await fetch(`${url}${where}`)).text();

  test("answers a machine's last lines without control characters", async () => {
    await writeFile(instancePaths.machineLog(settings, "acme", "web"), "one\n\u001b[31mtwo\u001b[0m\nthree\n");
    expect(await text("/machines/acme/web/log?tail=2")).toBe("two\nthree\n");
    expect(await text("/machines/acme/none/log")).toBe("");
  });

  test("follows a machine's log until the client leaves", async () => {
    const file = instancePaths.machineLog(settings, "acme", "web");
    await writeFile(file, "old\n");
    const leave = new AbortController();
    const response = await fetch(`${url}/machines/acme/web/log?tail=1&follow=1`, { signal: leave.signal });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader.read()).value).toBe("old\n");
    await appendFile(file, "new\n");
    expect((await reader.read()).value).toBe("new\n");
    leave.abort();
    await expect(reader.read()).rejects.toThrow(/abort/i);
  });

  test("follows a build from before its first line to its end, or from an offset", async () => {
    const file = instancePaths.buildLog(settings, build);
    const whole = text(`/builds/${build}/log?follow=1`);
    await writeFile(file, '{"type":"step"}\n');
    await appendFile(file, '{"type":"end"}\n{"type":"after"}\n');
    expect(await whole).toBe('{"type":"step"}\n{"type":"end"}\n');
    expect(await text(`/builds/${build}/log?from=16`)).toBe('{"type":"end"}\n{"type":"after"}\n');
  });

  test.each([
    "/machines/..%2f..%2f/etc/log",
    "/machines/acme/..%2fsecret/log",
    "/machines/acme/web/log?tail=-1",
    "/builds/..%2f..%2fsettings/log",
  ])("refuses %s", async (where) => {
    expect((await fetch(`${url}${where}`)).status).toBe(400);
  });
});
