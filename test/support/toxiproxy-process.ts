import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { anyFreePort } from "../../stack/free-port.ts";
import { makeOwnedDir, removeOwnedDir, tieToDir } from "./owned-dir.ts";

/** A TCP proxy whose connections can be made bad (toxiproxy). */
export type Toxiproxy = AsyncDisposable & {
  readonly address: string;
  /** Adds what goes wrong, by toxiproxy's own types: `latency`, `timeout`, `bandwidth`, … Answers how to take it away again. */
  add(type: string, attributes: Readonly<Record<string, number>>, stream?: "upstream" | "downstream"): Promise<() => Promise<void>>;
};

export async function startToxiproxy(upstream: string, binDir: string): Promise<Toxiproxy> {
  const [apiPort, port] = [await anyFreePort(), await anyFreePort()];
  const api = `http://127.0.0.1:${apiPort}`;
  const child = spawn(path.join(binDir, "server"), ["-host", "127.0.0.1", "-port", String(apiPort)], { stdio: "ignore" });
  const exited = once(child, "exit");
  const dir = await makeOwnedDir();
  await tieToDir(dir, "toxiproxy", child.pid);
  const ask = async (method: string, resource: string, body?: object): Promise<void> => {
    const answer = await fetch(`${api}${resource}`, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    if (!answer.ok) throw new Error(`toxiproxy: ${method} ${resource}: ${answer.status} ${await answer.text()}`);
  };
  while (
    !(await fetch(`${api}/version`).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    if (child.exitCode !== null) throw new Error(`toxiproxy ended with exit code ${child.exitCode}`);
    await sleep(20);
  }
  const address = `127.0.0.1:${port}`;
  await ask("POST", "/proxies", { name: "it", listen: address, upstream, enabled: true });
  let count = 0;
  return {
    address,
    add: async (type, attributes, stream = "downstream") => {
      const name = `toxic-${(count += 1)}`;
      await ask("POST", "/proxies/it/toxics", { name, type, attributes, stream });
      return () => ask("DELETE", `/proxies/it/toxics/${name}`);
    },
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await exited;
      await removeOwnedDir(dir);
    },
  };
}
