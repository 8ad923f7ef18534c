import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { openTestBuildkit } from "../builder/buildkit-daemon.ts";
import { type RegistryProcess, createRegistryProcess } from "./registry-process.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const exec = promisify(execFile);
let bucket: ScratchBucket;
let registry: RegistryProcess;
let dir: string;
/** `host:port/org`, where all repositories of these tests are */
let host: string;
/** digest of the image of three layers, `web:image` */
let image: string;

beforeAll(async () => {
  bucket = await openScratchBucket();
  registry = await createRegistryProcess(bucket.bucket);
  await registry.start();
  host = new URL(registry.url).host;
  dir = await mkdtemp(path.join(tmpdir(), "registry-clients-"));
  await writeFile(path.join(dir, "policy.json"), JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
  for (const layer of ["one", "two", "three"]) {
    // the last one is longer than a part of an upload
    await writeFile(path.join(dir, layer), randomBytes(layer === "three" ? 20 * 1024 * 1024 : 1000));
    await run(`tar -cf ${layer}.tar ${layer}`);
  }
  await run(`crane append -f one.tar -f two.tar -f three.tar -t ${host}/acme/web:image`);
  image = await run(`crane digest ${host}/acme/web:image`);
  await run(`regctl registry set --skip-check --tls disabled ${host}`);
});
afterAll(async () => {
  await registry[Symbol.asyncDispose]();
  await bucket[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

async function run(line: string): Promise<string> {
  const env = {
    PATH: `${inject("toolsBinDir")}:${process.env.PATH}`,
    HOME: dir,
    DOCKER_CONFIG: dir,
    REGCTL_CONFIG: path.join(dir, "regctl"),
  };
  const { stdout } = await exec("bash", ["-ec", line], { cwd: dir, env, maxBuffer: 16 * 1024 * 1024 });
  return stdout.trim();
}
const json = async (line: string): Promise<unknown> => JSON.parse(await run(line));

const skopeo = "skopeo --policy policy.json --insecure-policy";
/** For each client: how it reads an image into a layout, writes one from there, tells a digest and lists tags. */
const clients = {
  crane: {
    pull: (name: string, to: string) => `crane pull --format oci ${host}/${name} ${to}`,
    push: (from: string, name: string) => `crane push ${from} ${host}/${name}`,
    digest: (name: string) => `crane digest ${host}/${name}`,
    tags: (repository: string) => `crane ls ${host}/${repository}`,
  },
  regctl: {
    pull: (name: string, to: string) => `regctl image copy ${host}/${name} ocidir://${to}`,
    push: (from: string, name: string) => `regctl image copy ocidir://${from}@${image} ${host}/${name}`,
    digest: (name: string) => `regctl manifest head ${host}/${name}`,
    tags: (repository: string) => `regctl tag ls ${host}/${repository}`,
  },
  skopeo: {
    pull: (name: string, to: string) => `${skopeo} copy --src-tls-verify=false docker://${host}/${name} dir:${to}`,
    push: (from: string, name: string) => `${skopeo} copy --dest-tls-verify=false dir:${from} docker://${host}/${name}`,
    digest: (name: string) => `${skopeo} inspect --tls-verify=false --format '{{.Digest}}' docker://${host}/${name}`,
    tags: (repository: string) => `skopeo list-tags --tls-verify=false docker://${host}/${repository}`,
  },
} as const;

describe.each(Object.entries(clients))("%s", (name, client) => {
  it("pulls an image of several layers and pushes it to another repository, the same in every byte", async () => {
    await run(client.pull("acme/web:image", `layout-${name}`));
    await run(client.push(`layout-${name}`, `acme/${name}:again`));
    expect(await run(client.digest(`acme/${name}:again`))).toBe(image);
    await run(`crane validate --remote ${host}/acme/${name}:again`);
  });

  it("lists tags in order", async () => {
    const repository = `acme/${name}-tags`;
    for (const tag of ["v2", "v10", "latest"]) await run(`crane copy ${host}/acme/web:image ${host}/${repository}:${tag}`);
    const listed = await run(client.tags(repository));
    const tags = name === "skopeo" ? (JSON.parse(listed) as { Tags: string[] }).Tags : listed.split("\n");
    expect(tags).toEqual(["latest", "v10", "v2"]);
  });
});

describe("an index of two platforms", () => {
  beforeAll(async () => {
    await run(`crane mutate --set-platform linux/amd64 ${host}/acme/web:image -t ${host}/acme/multi:amd64`);
    await run(`crane mutate --set-platform linux/arm64 ${host}/acme/web:image -t ${host}/acme/multi:arm64`);
    await run(`crane index append -m ${host}/acme/multi:amd64 -m ${host}/acme/multi:arm64 -t ${host}/acme/multi:all`);
  });

  it("is pushed by crane and resolved by platform", async () => {
    for (const architecture of ["amd64", "arm64"]) {
      const child = await run(`crane digest --platform linux/${architecture} ${host}/acme/multi:all`);
      expect(child).toBe(await run(`crane digest ${host}/acme/multi:${architecture}`));
    }
  });

  it("is copied whole by regctl and skopeo", async () => {
    const digest = await run(`crane digest ${host}/acme/multi:all`);
    await run(`regctl image copy ${host}/acme/multi:all ${host}/acme/multi-regctl:all`);
    await run(
      `${skopeo} copy --all --src-tls-verify=false --dest-tls-verify=false docker://${host}/acme/multi:all docker://${host}/acme/multi-skopeo:all`,
    );
    expect(await run(`crane digest ${host}/acme/multi-regctl:all`)).toBe(digest);
    // skopeo writes the index anew
    for (const architecture of ["amd64", "arm64"]) {
      const child = await run(`crane digest --platform linux/${architecture} ${host}/acme/multi-skopeo:all`);
      expect(child).toBe(await run(`crane digest ${host}/acme/multi:${architecture}`));
    }
    for (const copy of ["multi-regctl", "multi-skopeo"]) await run(`crane validate --remote ${host}/acme/${copy}:all`);
  });
});

describe("an artifact", () => {
  it("put by regctl beside its subject is found from there, filtered by type, read, and gone when deleted", async () => {
    await run(`crane copy ${host}/acme/web:image ${host}/acme/signed:v1`);
    const put = (type: string, text: string) =>
      run(
        `echo ${text} | regctl artifact put --artifact-type ${type} --subject ${host}/acme/signed:v1 --format '{{.Manifest.GetDescriptor.Digest}}'`,
      );
    const sbom = await put("application/x.sbom", "parts");
    const signature = await put("application/x.signature", "signed");
    const list = async (options = "") => {
      const found = await json(`regctl artifact list ${options} --format '{{json .}}' ${host}/acme/signed:v1`);
      return (found as { descriptors: { digest: string }[] }).descriptors.map(({ digest }) => digest);
    };
    expect(new Set(await list())).toEqual(new Set([sbom, signature]));
    expect(await list("--filter-artifact-type application/x.sbom")).toEqual([sbom]);
    expect(await run(`regctl artifact get ${host}/acme/signed@${sbom}`)).toBe("parts");
    await run(`crane delete ${host}/acme/signed@${sbom}`);
    expect(await list()).toEqual([signature]);
  });
});

describe("deleting", () => {
  it("a tag with regctl leaves the manifest; a manifest with crane takes its tags along", async () => {
    for (const tag of ["a", "b", "c"]) await run(`crane copy ${host}/acme/web:image ${host}/acme/deleted:${tag}`);
    await run(`regctl tag delete ${host}/acme/deleted:a`);
    expect((await run(`crane ls ${host}/acme/deleted`)).split("\n")).toEqual(["b", "c"]);
    expect(await run(`crane digest ${host}/acme/deleted@${image}`)).toBe(image);
    await run(`crane delete ${host}/acme/deleted@${image}`);
    await expect(run(`crane digest ${host}/acme/deleted:b`)).rejects.toThrow("MANIFEST_UNKNOWN");
    expect(await run(`crane ls ${host}/acme/deleted`)).toBe("");
    expect(await run(`crane digest ${host}/acme/web:image`)).toBe(image);
  });
});

describe("copying between repositories", () => {
  it.each([
    ["crane", (to: string) => `crane copy ${host}/acme/web:image ${host}/${to}`],
    ["regctl", (to: string) => `regctl image copy ${host}/acme/web:image ${host}/${to}`],
  ])("with %s mounts the layers: no byte is stored again", async (name, copy) => {
    const before = await bucket.keys("bytes/");
    await run(copy(`acme/mounted-${name}:v1`));
    expect(await bucket.keys("bytes/")).toEqual(before);
    expect(await bucket.keys("uploads/")).toEqual([]);
    await run(`crane validate --remote ${host}/acme/mounted-${name}:v1`);
  });
});

describe("sha512", () => {
  it("names an image that regctl makes of the other one, and its layers", async () => {
    await run(`regctl image mod --digest-algo sha512 --create ${host}/acme/web:sha512 ${host}/acme/web:image`);
    const manifest = (await json(`regctl manifest get --format raw-body ${host}/acme/web:sha512`)) as { layers: { digest: string }[] };
    for (const { digest } of manifest.layers) expect(digest).toMatch(/^sha512:[0-9a-f]{128}$/);
    await run(`regctl image copy ${host}/acme/web:sha512 ocidir://sha512:v1`);
    const hex = manifest.layers[2]!.digest.slice("sha512:".length);
    expect(await run(`sha512sum < sha512/blobs/sha512/${hex}`)).toContain(hex);
  });
});

describe("BuildKit", () => {
  it("pushes what it builds, builds upon it, and keeps its cache here", async () => {
    await using buildkit = await openTestBuildkit(inject("toolsBinDir"), host);
    const build = async (dockerfile: string, tag: string, more = "") => {
      const context = path.join(dir, `context-${tag}`);
      await mkdir(context, { recursive: true });
      await writeFile(path.join(context, "Dockerfile"), dockerfile);
      await writeFile(path.join(context, "page"), `page of ${tag}`);
      await run(
        `buildctl --addr ${buildkit.address.replace("unix:", "unix://")} build --progress plain --frontend dockerfile.v0 ` +
          `--local context=${context} --local dockerfile=${context} --metadata-file ${tag}.json ` +
          `--output type=image,name=${host}/acme/built:${tag},push=true ${more} 2>&1`,
      );
      const { "containerimage.digest": digest } = JSON.parse(await readFile(path.join(dir, `${tag}.json`), "utf8")) as Record<
        string,
        string
      >;
      expect(await run(`crane digest ${host}/acme/built:${tag}`)).toBe(digest);
    };
    await build("FROM scratch\nCOPY page /first\n", "base", `--export-cache type=registry,ref=${host}/acme/built:cache,mode=max`);
    await build(`FROM ${host}/acme/built:base\nCOPY page /second\n`, "next", `--import-cache type=registry,ref=${host}/acme/built:cache`);
    const files = await run(`crane export ${host}/acme/built:next - | tar -tf -`);
    expect(files.split("\n").toSorted()).toEqual(["first", "second"]);
    expect(await run(`crane ls ${host}/acme/built`)).toBe("base\ncache\nnext");
  });
});
