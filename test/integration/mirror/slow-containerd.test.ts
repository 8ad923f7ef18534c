import { createHash, randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { orgNamespace } from "../../../config/paths.ts";
import { readyFile } from "../../../config/ready.ts";
import { openContainerd } from "../../../containerd/client.ts";
import { listBlobs } from "../../../containerd/content.ts";
import { digestOf } from "../../../oci/digest.ts";
import { eventually } from "../../support/eventually.ts";
import { loopbackAddress, orgName } from "../../support/mirror-harness.ts";
import { type MirrorProcess, createMirrorProcess } from "../../support/mirror-process.ts";
import { type OwnContainerd, startContainerd } from "../../support/own-containerd.ts";

const signal = AbortSignal.timeout(120_000);
const mebi = 1024 * 1024;
const pushes = 16;
const blobBytes = 32 * mebi;
const mostRssBytes = 256 * mebi;

/** A mebibyte over and over, and a few bytes of its own, which make its digest one that no other has. */
function makeBlob(base: Buffer) {
  const own = randomBytes(32);
  const times = blobBytes / mebi - 1;
  const hash = createHash("sha256");
  for (let count = 0; count < times; count += 1) hash.update(base);
  return {
    digest: `sha256:${hash.update(own).digest("hex")}`,
    sizeBytes: times * mebi + own.length,
    async *chunks() {
      for (let count = 0; count < times; count += 1) yield base;
      yield own;
    },
  };
}

describe("the mirror over a containerd that fails it", () => {
  const stack = new AsyncDisposableStack();
  const org = orgName("slow");
  let containerd: OwnContainerd;
  let mirror: MirrorProcess;
  let uploads: string;

  beforeAll(async () => {
    containerd = stack.use(await startContainerd());
    mirror = stack.use(await createMirrorProcess(containerd.socket));
    await mirror.start();
    const address = loopbackAddress();
    await mirror.admin.putOrg(org, [address], signal);
    uploads = `http://${address}:${mirror.settings.mirror.port}/v2/${org}/app/blobs/uploads/`;
  });
  afterAll(() => stack.disposeAsync());

  /** A mirror whose containerd has just come back may say 503 for a moment. */
  const begin = async (): Promise<URL> =>
    eventually(async () => {
      const started = await fetch(uploads, { method: "POST", signal });
      expect(started.status).toBe(202);
      return new URL(started.headers.get("location")!, uploads);
    }, 30_000);

  it("stops its pushers while containerd stands still, takes no more memory for it, and lets all of them end well", async () => {
    const pid = await readFile(readyFile(mirror.settings.runDir, "mirror"), "utf8");
    const base = randomBytes(mebi);

    const push = async () => {
      const blob = makeBlob(base);
      const location = await begin();
      const end = async () => {
        const patched = await fetch(location, { method: "PATCH", body: blob.chunks(), duplex: "half", signal } as RequestInit);
        expect(patched.status).toBe(202);
        const whole = new URL(location);
        whole.searchParams.set("digest", blob.digest);
        return (await fetch(whole, { method: "PUT", signal })).status;
      };
      const receivedBytes = async () => {
        const status = await fetch(location, { signal });
        return Number(status.headers.get("range")?.split("-")[1] ?? 0);
      };
      return { blob, end, receivedBytes };
    };
    const begun = await Promise.all(Array.from({ length: pushes }, push));
    const received = async () => (await Promise.all(begun.map((each) => each.receivedBytes()))).reduce((sum, bytes) => sum + bytes, 0);
    await writeFile(`/proc/${pid}/clear_refs`, "5");
    const ended = Promise.all(begun.map((each) => each.end()));
    // a failure is seen where it is waited for
    ended.catch(() => undefined);

    await expect.poll(received, { timeout: 60_000 }).toBeGreaterThan(pushes * mebi);
    {
      using _paused = containerd.pause();
      let before = -1;
      // nothing more comes in
      await expect.poll(async () => before === (before = await received()), { timeout: 60_000, interval: 500 }).toBe(true);
      expect(before).toBeLessThan(begun.reduce((sum, { blob }) => sum + blob.sizeBytes, 0));
    }
    expect(await ended).toEqual(Array.from({ length: pushes }, () => 201));
    const peakKib = /VmHWM:\s+(\d+) kB/.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1];
    expect(Number(peakKib) * 1024).toBeLessThan(mostRssBytes);

    await using client = openContainerd(containerd.socket);
    const stored = new Map<string, number>();
    for await (const { digest, sizeBytes } of listBlobs(client.namespace(orgNamespace(org)), [], signal)) stored.set(digest, sizeBytes);
    expect(stored).toEqual(new Map(begun.map(({ blob }) => [blob.digest, blob.sizeBytes])));
  });

  it("ends an upload whose containerd died with 503, takes the next one when it is back, and says 503 while it is away", async () => {
    const bytes = randomBytes(3 * mebi);
    const half = async () => {
      const location = await begin();
      expect((await fetch(location, { method: "PATCH", body: bytes, signal })).status).toBe(202);
      return location;
    };
    const end = async (location: URL) => {
      const whole = new URL(location);
      whole.searchParams.set("digest", digestOf(bytes));
      const answer = await fetch(whole, { method: "PUT", signal });
      await answer.body?.cancel();
      return answer.status;
    };
    const interrupted = await half();
    await containerd.killAndStart();
    expect(await end(interrupted)).toBe(503);
    expect((await fetch(interrupted, { signal })).status).toBe(404);
    expect(await end(await half())).toBe(201);

    const last = await half();
    await containerd[Symbol.asyncDispose]();
    expect(await end(last)).toBe(503);
  });
});
