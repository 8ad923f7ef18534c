import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { awaitHealthy, type CheckAttempt, pauseMs } from "../../../machines/checks.ts";
import type { MachineState } from "../../../machines/types.ts";
import { digestOf } from "../../../oci/digest.ts";
import type { HttpCheck } from "../../../workflows/types.ts";

const running: MachineState = { org: "acme", id: "m", labels: {}, digest: digestOf("x"), state: "running" };

describe("waiting for a machine's checks", () => {
  let server: http.Server;
  let answer: http.RequestListener;
  let check: HttpCheck;
  beforeEach(async () => {
    server = http.createServer((request, response) => answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    check = { path: "/health", port, method: "GET", intervalMs: 20, timeoutMs: 500, gracePeriodMs: 0 };
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  const wait = (
    timeoutMs: number,
    inspect = async (): Promise<MachineState | undefined> => running,
    onAttempt?: (a: CheckAttempt) => void,
  ) =>
    awaitHealthy(
      { address: "127.0.0.1", checks: [check], timeoutMs, inspect },
      { signal: AbortSignal.timeout(9000), ...(onAttempt === undefined ? {} : { onAttempt }) },
    );

  test("ends with the first 2xx and tells of each attempt", async () => {
    let asked = 0;
    answer = (_request, response) => response.writeHead(++asked < 3 ? 503 : 204).end();
    const attempts: CheckAttempt[] = [];
    await wait(5000, undefined, (attempt) => attempts.push(attempt));
    expect(attempts.map(({ answer: text, passed }) => [text, passed])).toEqual([
      ["HTTP 503", false],
      ["HTTP 503", false],
      ["HTTP 204", true],
    ]);
  });

  test("does not follow a redirect", async () => {
    const paths: (string | undefined)[] = [];
    answer = (request, response) => {
      paths.push(request.url);
      response.writeHead(302, { location: "/elsewhere" }).end();
    };
    await expect(wait(200)).rejects.toMatchObject({ code: "CHECK_TIMED_OUT" });
    expect(new Set(paths)).toEqual(new Set(["/health"]));
  });

  test("says the last answer when the time is over", async () => {
    answer = (_request, response) => response.writeHead(500).end();
    await expect(wait(150)).rejects.toThrow(/GET :\d+\/health: HTTP 500/);
  });

  test("ends at once with the exit code when the machine ends", async () => {
    answer = (_request, response) => response.writeHead(500).end();
    const exited: MachineState = { ...running, state: "stopped", exit: { code: 3, atMs: 1 } };
    await expect(wait(8000, async () => exited)).rejects.toMatchObject({
      code: "MACHINE_EXITED",
      message: expect.stringContaining("exit code 3"),
    });
  });

  test("is not held up by a body without end", async () => {
    answer = (_request, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write("x".repeat(32 * 1024)), 1);
      response.on("close", () => clearInterval(timer));
    };
    await wait(5000);
  });

  test("without checks means to live for a moment", async () => {
    const smoke = (inspect: () => Promise<MachineState | undefined>) =>
      awaitHealthy({ address: "127.0.0.1", checks: [], timeoutMs: 400, inspect }, { signal: AbortSignal.timeout(5000) });
    await smoke(async () => running);
    await expect(smoke(async () => undefined)).rejects.toMatchObject({ code: "MACHINE_EXITED" });
  });

  test("ends when the caller gives up", async () => {
    answer = (_request, response) => response.writeHead(500).end();
    const giveUp = AbortSignal.timeout(50);
    const waiting = awaitHealthy(
      { address: "127.0.0.1", checks: [check], timeoutMs: 5000, inspect: async () => running },
      { signal: giveUp },
    );
    await expect(waiting).rejects.toThrow(/abort|timeout/i);
  });
});

test("a starting machine is asked often, a started one as its check says", () => {
  const slow = { intervalMs: 10_000, gracePeriodMs: 5000 };
  expect(pauseMs(slow, 1, 0)).toBe(10);
  expect(pauseMs(slow, 20, 4999)).toBe(320);
  expect(pauseMs(slow, 21, 5000)).toBe(10_000);
  expect(pauseMs({ intervalMs: 30, gracePeriodMs: 0 }, 9, 100)).toBe(30);
});
