import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import net from "node:net";

const leastPort = 10_000;
const portTries = 200;

/** A port of the loopback that is free now, and that the kernel gives to no outgoing connection before it is used. */
export async function anyFreePort(): Promise<number> {
  const end = firstEphemeralPort();
  for (let tries = 0; tries < portTries; tries++) {
    const port = randomInt(leastPort, end);
    if (await isFree(port)) return port;
  }
  throw new Error(`Cannot find a free port between ${leastPort} and ${end}: tried ${portTries}`);
}

function firstEphemeralPort(): number {
  const [first = ""] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s+/);
  const port = Number(first);
  return port > leastPort + 1_000 ? port : 32_768;
}

/** The first free port from `first` on that is not in `taken`. */
export async function firstFreePort(first: number, taken: ReadonlySet<number>): Promise<number> {
  for (let port = first; port < 65_536; port++) {
    if (!taken.has(port) && (await isFree(port))) return port;
  }
  throw new Error(`Cannot find a free port from ${first} on`);
}

async function isFree(port: number): Promise<boolean> {
  try {
    await close(await listen(port));
    return true;
  } catch {
    return false;
  }
}

async function listen(port: number): Promise<net.Server> {
  const server = net.createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host: "127.0.0.1", exclusive: true }, resolve);
  });
  return server;
}

async function close(server: net.Server): Promise<void> {
  await new Promise<void>((resolve) => server.close(() => resolve()));
}
