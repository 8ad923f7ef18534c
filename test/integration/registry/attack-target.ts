import { once } from "node:events";
import { type Socket, connect } from "node:net";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, inject } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { createDistributionClient } from "../../../oci/distribution-client.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { createRegistryProcess } from "../../support/registry-process.ts";
import { openScratchBucket } from "./scratch-bucket.ts";

/** What came back over a connection. */
export type Said = { readonly statuses: readonly number[]; readonly codes: readonly string[]; readonly text: string };

export type AttackTarget = AsyncDisposable & Awaited<ReturnType<typeof open>>;

const settleMs = 250;

/** The real registry process over a bucket of its own, and a way to send it whatever bytes one likes. */
export async function openAttackTarget(): Promise<AttackTarget> {
  const stack = new AsyncDisposableStack();
  try {
    return { ...(await open(stack)), [Symbol.asyncDispose]: () => stack.disposeAsync() };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function open(stack: AsyncDisposableStack) {
  const scratch = stack.use(await openScratchBucket());
  const registry = stack.use(await createRegistryProcess({ bucket: scratch.bucket, s3: inject("s3"), toolsBinDir: inject("toolsBinDir") }));
  await registry.start();
  const { hostname: host, port } = new URL(registry.url);
  const client = createDistributionClient({ baseUrl: registry.url });
  stack.defer(() => client[Symbol.dispose]());

  /** All that is in the bucket but what looks at S3 leave there. */
  const stored = async () => ({
    keys: (await scratch.keys()).filter((key) => !key.startsWith("probes/")).toSorted(),
    multipartUploads: await scratch.multipartUploads(),
  });
  const metric = async (series: string): Promise<number> => {
    const metrics = registry.settings.registry.metrics!;
    const text = await (await fetch(`http://${metrics.host}:${metrics.port}/metrics`)).text();
    return Number(
      text
        .split("\n")
        .find((line) => line.startsWith(`${series} `))
        ?.split(" ")[1] ?? Number.NaN,
    );
  };
  const target = {
    url: registry.url,
    client,
    stored,
    openConnection: async (): Promise<Socket> => {
      const socket = connect(Number(port), host);
      socket.on("error", () => {});
      await once(socket, "connect");
      return socket;
    },
    /** Sends bytes as they are; answers what was said until the registry closed the connection, or until it is enough. */
    sendRaw: async (bytes: string | Uint8Array, isEnough: (said: Said) => boolean = () => false, halfClose = false): Promise<Said> => {
      const socket = await target.openConnection();
      try {
        socket.write(bytes);
        if (halfClose) socket.end();
        return await hear(socket, isEnough);
      } finally {
        socket.destroy();
      }
    },
    pushBlob: (repository: string, bytes: Buffer) =>
      client.pushBlob(
        parseRepository(repository),
        { digest: digestOf(bytes), sizeBytes: bytes.length, open: (offset) => Readable.from([bytes.subarray(offset)]) },
        AbortSignal.timeout(60_000),
      ),
    startUpload: async (repository: string): Promise<string> => {
      const answer = await fetch(`${registry.url}/v2/${repository}/blobs/uploads/`, { method: "POST" });
      expect(answer.status).toBe(202);
      return new URL(answer.headers.get("location")!, registry.url).pathname;
    },
    /** Runs an attack, then looks whether it left anything in the bucket; an open upload that it began is not meant. */
    leavesNothing: async (attack: () => Promise<void>): Promise<void> => {
      const before = await stored();
      await attack();
      const added = async () => {
        const { keys, multipartUploads } = await stored();
        return { keys: keys.filter((key) => !before.keys.includes(key)), multipartUploads };
      };
      const nothing = { keys: [], multipartUploads: before.multipartUploads };
      await expect.poll(added, { timeout: 20_000 }).toEqual(nothing);
      // what was under way when the connection ended may come late
      await sleep(settleMs);
      await expect.poll(added, { timeout: 20_000 }).toEqual(nothing);
      await target.serves();
    },
    /** It goes on serving others. */
    serves: async (): Promise<void> => {
      const answer = await fetch(`${registry.url}/v2/`, { signal: AbortSignal.timeout(10_000) });
      expect(answer.status).toBe(200);
      await answer.arrayBuffer();
    },
    residentBytes: () => metric("process_resident_memory_bytes"),
    openFiles: () => metric("process_open_fds"),
    metric,
  };
  return target;
}

/** Collects what is said on a connection until it closes, or until it is enough. */
export async function hear(socket: Socket, isEnough: (said: Said) => boolean = () => false, timeoutMs = 60_000): Promise<Said> {
  let text = "";
  const said = (): Said => ({
    text,
    statuses: [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1])).filter((status) => status !== 100),
    codes: [...text.matchAll(/"code":"([A-Z_]+)"/g)].map((match) => match[1]!),
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`the registry neither closed the connection nor said enough; it said:\n${text}`)),
      timeoutMs,
    );
    const done = () => {
      clearTimeout(timer);
      resolve(said());
    };
    socket.on("data", (data: Buffer) => {
      text += data.toString("latin1");
      if (isEnough(said())) done();
    });
    socket.once("close", done);
    if (socket.destroyed) done();
  });
}
