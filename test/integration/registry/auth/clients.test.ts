import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { type GuardedRegistry, openGuardedRegistry } from "./guarded-registry.ts";

const exec = promisify(execFile);
let registry: GuardedRegistry;
let dir: string;
let host: string;
let image: string;
let passwords: { pusher: string; reader: string };

beforeAll(async () => {
  registry = await openGuardedRegistry();
  host = new URL(registry.url).host;
  dir = await mkdtemp(path.join(tmpdir(), "registry-clients-"));
  await writeFile(path.join(dir, "hello"), "hello");
  await writeFile(path.join(dir, "policy.json"), JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
  await exec("tar", ["-cf", "layer.tar", "hello"], { cwd: dir });
  const pusher = await registry.deployToken({ app: "web", actions: ["pull", "push"] });
  const reader = await registry.deployToken({ actions: ["pull"] });
  passwords = { pusher: pusher.password, reader: reader.password };
  await run("crane", `crane auth login ${host} -u token -p ${passwords.pusher} && crane append -f layer.tar -t ${host}/acme/web:base`);
  await run("crane", `crane pull --format oci ${host}/acme/web:base layout`);
  const index = JSON.parse(await readFile(path.join(dir, "layout/index.json"), "utf8")) as { manifests: [{ digest: string }] };
  image = index.manifests[0].digest;
});
afterAll(async () => {
  await registry[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

async function run(home: string, line: string): Promise<string> {
  const folder = path.join(dir, home);
  const env = {
    PATH: `${inject("toolsBinDir")}:${process.env.PATH}`,
    HOME: folder,
    DOCKER_CONFIG: folder,
    REGCTL_CONFIG: path.join(folder, "regctl.json"),
    REGISTRY_AUTH_FILE: path.join(folder, "containers.json"),
  };
  return (await exec("bash", ["-ec", `mkdir -p ${folder}; ${line}`], { cwd: dir, env })).stdout;
}

const skopeo = "skopeo --policy policy.json";
/** For each client: how one logs in, pushes the image in `layout`, reads its digest back, and deletes it. */
const clients = {
  crane: {
    login: (password: string) => `crane auth login ${host} -u token -p ${password}`,
    push: (name: string) => `crane push layout ${host}/${name}`,
    digest: (name: string) => `crane digest ${host}/${name}`,
    remove: (name: string) => `crane delete ${host}/${name}`,
  },
  regctl: {
    login: (password: string) =>
      `regctl registry set --skip-check --tls disabled ${host} && regctl registry login ${host} -u token -p ${password}`,
    push: (name: string) => `regctl image copy ocidir://layout@${image} ${host}/${name}`,
    digest: (name: string) => `regctl manifest head ${host}/${name}`,
    remove: (name: string) => `regctl tag delete ${host}/${name}`,
  },
  skopeo: {
    login: (password: string) => `skopeo login --tls-verify=false ${host} -u token -p ${password}`,
    push: (name: string) => `${skopeo} copy --dest-tls-verify=false oci:layout docker://${host}/${name}`,
    digest: (name: string) => `${skopeo} inspect --tls-verify=false --format '{{.Digest}}' docker://${host}/${name}`,
    remove: (name: string) => `${skopeo} delete --tls-verify=false docker://${host}/${name}`,
  },
} as const;

describe.each(Object.entries(clients))("%s", (name, { login, push, digest, remove }) => {
  it("without a token can neither push nor pull", async () => {
    if (name === "regctl") await run("nobody", `regctl registry set --skip-check --tls disabled ${host}`);
    await expect(run("nobody", push(`acme/web:${name}`))).rejects.toThrow();
    await expect(run("nobody", digest("acme/web:base"))).rejects.toThrow();
  });

  it("pushes and pulls within its token's scope, and nothing outside of it", async () => {
    await run(name, login(passwords.pusher));
    await run(name, push(`acme/web:${name}`));
    expect((await run(name, digest(`acme/web:${name}`))).trim()).toBe(image);
    await expect(run(name, push(`acme/api:${name}`))).rejects.toThrow();
    await expect(run(name, push(`other/web:${name}`))).rejects.toThrow();
    await expect(run(name, remove(`acme/web:${name}`))).rejects.toThrow();
    expect((await registry.stored()).filter((key) => key.startsWith("repositories/")).every((key) => key.includes("/acme:web/"))).toBe(
      true,
    );
  });

  it("that may only pull does not push, and may delete with a token for that", async () => {
    const reader = `${name}-reader`;
    await run(reader, login(passwords.reader));
    expect((await run(reader, digest(`acme/web:${name}`))).trim()).toMatch(/^sha256:/);
    await expect(run(reader, push(`acme/web:${name}-again`))).rejects.toThrow();
    const { password } = await registry.deployToken({ app: "web", actions: ["pull", "delete"] });
    await run(`${name}-remover`, login(password));
    await run(`${name}-remover`, remove(`acme/web:${name}`));
    await expect(run(reader, digest(`acme/web:${name}`))).rejects.toThrow();
  });
});
