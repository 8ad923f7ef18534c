import { once } from "node:events";
import { type ClientRequest, type OutgoingHttpHeaders, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Repository } from "../../oci/repository.ts";
import type { Blob, TestImage } from "./test-image.ts";

/** A repository of a mirror that an image is pushed to by hand. */
export type PushTarget = {
  readonly baseUrl: string;
  readonly repository: Repository;
  /** Resolves when containerd has bytes of an upload that is not over. */
  ingesting(): Promise<void>;
};

/** Brings a push to one of its steps, and answers while it is there: requests that are under way stay so. */
export type PushStep = (target: PushTarget, image: TestImage) => Promise<void>;

/** Each step of a push at which its server may die. */
export const pushSteps: readonly (readonly [string, PushStep])[] = [
  ["after the POST", async (target) => void (await begin(target))],
  [
    "in the middle of a PATCH",
    async (target, { layers: [layer] }) => {
      const patch = open("PATCH", await begin(target), { "content-length": layer!.bytes.length });
      patch.write(layer!.bytes.subarray(0, layer!.bytes.length / 2));
      await target.ingesting();
    },
  ],
  ["after a PATCH", async (target, { layers: [layer] }) => void (await patched(target, layer!))],
  [
    "in the PUT of a blob",
    async (target, { layers: [layer] }) =>
      void open("PUT", finishing(await patched(target, layer!), layer!), { "content-length": 0 }).end(),
  ],
  ["between two blobs", async (target, { layers: [layer] }) => await pushBlob(target, layer!)],
  [
    "before the manifest",
    async (target, { layers, config }) => {
      for (const blob of [...layers, config]) await pushBlob(target, blob);
    },
  ],
];

/** All blobs are there, and the manifest's PUT has been under way for `delayMs`. */
export const inManifest =
  (delayMs: number): PushStep =>
  async (target, { layers, config, manifest }) => {
    await Promise.all([...layers, config].map((blob) => pushBlob(target, blob)));
    const { bytes, descriptor } = manifest;
    const url = new URL(`/v2/${target.repository}/manifests/v1`, target.baseUrl);
    open("PUT", url, { "content-type": descriptor.mediaType, "content-length": bytes.length }).end(bytes);
    await sleep(delayMs);
  };

async function begin({ baseUrl, repository }: PushTarget): Promise<URL> {
  const answer = await fetch(`${baseUrl}/v2/${repository}/blobs/uploads/`, { method: "POST" });
  if (answer.status !== 202) throw new Error(`POST: ${answer.status} ${await answer.text()}`);
  return new URL(answer.headers.get("location")!, baseUrl);
}

async function patched(target: PushTarget, { bytes }: Blob): Promise<URL> {
  const location = await begin(target);
  const answer = await fetch(location, { method: "PATCH", body: new Uint8Array(bytes) });
  if (answer.status !== 202) throw new Error(`PATCH: ${answer.status} ${await answer.text()}`);
  return location;
}

async function pushBlob(target: PushTarget, blob: Blob): Promise<void> {
  const answer = await fetch(finishing(await patched(target, blob), blob), { method: "PUT" });
  if (answer.status !== 201) throw new Error(`PUT: ${answer.status} ${await answer.text()}`);
}

function finishing(location: URL, { descriptor }: Blob): URL {
  const url = new URL(location);
  url.searchParams.set("digest", descriptor.digest);
  return url;
}

/** On a connection of its own, whose end nobody minds. */
function open(method: string, url: URL, headers: OutgoingHttpHeaders): ClientRequest {
  const sent = request(url, { method, headers, agent: false });
  sent.on("error", () => undefined);
  void once(sent, "response").then(
    ([answer]: { resume(): void }[]) => answer!.resume(),
    () => undefined,
  );
  return sent;
}
