import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { type AttackTarget, openAttackTarget } from "./attack-target.ts";

const repository = "attacked/manifests";
const config = Buffer.from("{}");
const layer = Buffer.from("layer");
const foreign = Buffer.from("somebody else's");
const descriptorOf = (bytes: Buffer, mediaType: string) => ({ mediaType, digest: digestOf(bytes), size: bytes.length });
const good = {
  schemaVersion: 2,
  mediaType: mediaTypes.imageManifest,
  config: descriptorOf(config, mediaTypes.imageConfig),
  layers: [descriptorOf(layer, mediaTypes.layerTar)],
};
const nested = (levels: number) => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`;

type Attack = {
  readonly what: string;
  readonly body: string | Uint8Array;
  readonly status?: number;
  readonly code?: string;
  readonly reference?: string;
  readonly headers?: Record<string, string>;
};

const attacks: readonly Attack[] = [
  { what: "of 4 MiB and one byte", body: Buffer.alloc(4 * 1024 * 1024 + 1, " "), status: 413 },
  { what: "of 128 layers", body: JSON.stringify({ ...good, layers: Array.from({ length: 128 }, () => good.layers[0]) }) },
  { what: "under another's digest", body: JSON.stringify(good), reference: digestOf("other"), code: "DIGEST_INVALID" },
  { what: "nested 100,000 levels deep", body: JSON.stringify(good).replace(/}$/, `,"x":${nested(100_000)}}`) },
  { what: "with a key twice", body: JSON.stringify(good).replace(/}$/, `,"config":${JSON.stringify(good.config)}}`) },
  { what: "with an escaped key twice", body: JSON.stringify(good).replace(/}$/, `,"\\u006cayers":[]}`) },
  { what: "that is an image and an index at once", body: JSON.stringify({ ...good, manifests: [] }) },
  { what: "that contradicts its Content-Type", body: JSON.stringify({ ...good, mediaType: mediaTypes.imageIndex }) },
  {
    what: "that names a layer twice, the first time of another size",
    body: JSON.stringify({ ...good, layers: [{ ...good.layers[0], size: 1 }, ...good.layers] }),
  },
  { what: "of schema 1", body: JSON.stringify({ schemaVersion: 1, name: "x", fsLayers: [], history: [] }) },
  { what: "of a media type that is none", body: JSON.stringify(good), headers: { "content-type": "text/html" } },
  {
    what: "with a tab in its Content-Type",
    body: JSON.stringify(good),
    headers: { "content-type": `${mediaTypes.imageManifest}\tx` },
    status: 415,
    code: "UNSUPPORTED",
  },
  ...[-1, 0.5, 1e300, "5", null].map((size) => ({
    what: `with a layer of ${JSON.stringify(size)} bytes`,
    body: JSON.stringify({ ...good, layers: [{ ...good.layers[0], size }] }),
  })),
  { what: "with a layer of another size than it has", body: JSON.stringify({ ...good, layers: [{ ...good.layers[0], size: 6 }] }) },
  {
    what: "with a layer that only another repository has",
    body: JSON.stringify({ ...good, layers: [descriptorOf(foreign, mediaTypes.layerTar)] }),
    status: 404,
    code: "MANIFEST_BLOB_UNKNOWN",
  },
  { what: "with a digest that is a path", body: JSON.stringify({ ...good, config: { ...good.config, digest: "sha256:../../x" } }) },
  { what: "that is no JSON", body: "{" },
  { what: "that is empty", body: "" },
  { what: "that is null", body: "null" },
  { what: "that is a list", body: "[]" },
  { what: "that is not UTF-8", body: Buffer.from([0x7b, 0xff, 0xfe, 0x7d]) },
  { what: "that would change prototypes", body: `{"__proto__":${JSON.stringify(good)}}` },
  { what: "that is compressed", body: gzipSync(JSON.stringify(good)), headers: { "content-encoding": "gzip" } },
  { what: "that is a compressed bomb", body: gzipSync(Buffer.alloc(200 * 1024 * 1024)), headers: { "content-encoding": "gzip" } },
  { what: "under a tag of 129 characters", body: JSON.stringify(good), reference: "t".repeat(129) },
  { what: "under a tag that begins with a dot", body: JSON.stringify(good), reference: ".hidden" },
  { what: "under a tag with a slash", body: JSON.stringify(good), reference: "a%2fb" },
  {
    what: "under a digest of an unknown algorithm",
    body: JSON.stringify(good),
    reference: `md5:${"0".repeat(32)}`,
    code: "DIGEST_INVALID",
  },
];

describe("the registry refuses a manifest", () => {
  let target: AttackTarget;

  beforeAll(async () => {
    target = await openAttackTarget();
    await Promise.all([target.pushBlob(repository, config), target.pushBlob(repository, layer), target.pushBlob("somebody/else", foreign)]);
  });
  afterAll(() => target[Symbol.asyncDispose]());

  const put = (body: string | Uint8Array, { reference = "v1", headers = {} }: Partial<Attack> = {}) =>
    fetch(`${target.url}/v2/${repository}/manifests/${reference}`, {
      method: "PUT",
      headers: { "content-type": mediaTypes.imageManifest, ...headers },
      body: body as never,
    });

  it.each(attacks)("$what", async ({ status = 400, code = "MANIFEST_INVALID", ...attack }) => {
    await target.leavesNothing(async () => {
      const answer = await put(attack.body, attack);
      const { errors } = (await answer.json()) as { errors: { code: string }[] };
      expect([answer.status, errors[0]?.code]).toEqual([status, code]);
    });
  });

  it("but takes the same ones when they are as they should be, up to the limits", async () => {
    const most = { ...good, layers: Array.from({ length: 127 }, () => good.layers[0]) };
    expect((await put(JSON.stringify(most))).status).toBe(201);
    const text = JSON.stringify(good);
    const padded = `${text}${" ".repeat(4 * 1024 * 1024 - text.length)}`;
    expect((await put(padded, { reference: "padded" })).status).toBe(201);
  });
});
