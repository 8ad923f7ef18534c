import { readFile } from "node:fs/promises";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { ReadyProbe } from "./process-spec.ts";

/** @param pid of the process that should serve */
export async function isReady(probes: readonly ReadyProbe[], pid: number): Promise<boolean> {
  const answers = await Promise.all(probes.map((probe) => holds(probe, pid)));
  return answers.every(Boolean);
}

/** @throws whatever `check` throws, which says that waiting is in vain */
export async function waitUntilReady(probes: readonly ReadyProbe[], pid: number, check: () => void, signal: AbortSignal): Promise<void> {
  for (let pauseMs = 10; ; pauseMs = Math.min(pauseMs * 1.5, 200)) {
    signal.throwIfAborted();
    check();
    if (await isReady(probes, pid)) return;
    await sleep(pauseMs, undefined, { signal });
  }
}

async function holds(probe: ReadyProbe, pid: number): Promise<boolean> {
  switch (probe.kind) {
    case "tcp":
      return await accepts({ host: probe.host, port: probe.port });
    case "unix":
      return await accepts({ path: probe.socket });
    case "file":
      return (await readFile(probe.file, "utf8").catch(() => "")).trim() === String(pid);
  }
}

export async function accepts(address: net.NetConnectOpts): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = net.connect(address);
    const answer = (value: boolean) => {
      socket.destroy();
      resolve(value);
    };
    // a busy process may find the timer due before it has looked for the connection that was made long since
    socket.setTimeout(1_000, () => setImmediate(() => answer(false)));
    socket.once("connect", () => answer(true));
    socket.once("error", () => answer(false));
  });
}
