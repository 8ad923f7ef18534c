import { execFile } from "node:child_process";
import { X509Certificate, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { instancePaths, orgNamespace } from "../../../config/paths.ts";
import type { Settings } from "../../../config/settings.ts";
import { getImage } from "../../../containerd/images.ts";
import { type TestBuildkitOptions, openTestBuildkit } from "../builder/buildkit-daemon.ts";
import { imageHost as portlessHost, loopbackAddress, orgName } from "../../support/mirror-harness.ts";
import { type MirrorProcess, createMirrorProcess } from "../../support/mirror-process.ts";
import { type ScratchNamespace, openScratchNamespace } from "../../support/scratch-namespace.ts";

const exec = promisify(execFile);
const signal = AbortSignal.timeout(300_000);
const bundle = "/etc/ssl/certs/ca-certificates.crt";
const org = orgName("clients");
/** password of the user `slipway`, which the mirror asks for */
const systemToken = randomBytes(24).toString("base64url");
let dir: string;
let mirror: MirrorProcess;
let scratch: ScratchNamespace;
/** the host part of image names, by which alone clients know the mirror */
let host: string;
/** digest of the image in `layout` */
let image: string;

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "mirror-clients-"));
  mirror = await createMirrorProcess(inject("containerdSocket"), guarded);
  scratch = await openScratchNamespace(inject("containerdSocket"), orgNamespace(org));
  await mirror.start();
  await writeNames(mirror);
  host = mirror.settings.registry.imageHost;
  await writeFile(path.join(dir, "policy.json"), JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
  await writeFile(path.join(dir, "page"), "a page");
  await run(
    "trusting",
    `tar -cf page.tar page; crane append -f page.tar -t ${host}/${org}/base:v1; crane pull --format oci ${host}/${org}/base:v1 layout`,
  );
  const index = JSON.parse(await readFile(path.join(dir, "layout/index.json"), "utf8")) as { manifests: [{ digest: string }] };
  image = index.manifests[0].digest;
});
afterAll(async () => {
  await mirror?.[Symbol.asyncDispose]();
  await scratch?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

const guarded = (of: Settings): Settings => ({
  ...of,
  registry: { ...of.registry, systemToken },
  mirror: { ...of.mirror, auth: "tokens" },
});

/** Serves the org, and writes what its machines have: names that lead there, and a CA bundle with the mirror's own. */
async function writeNames({ admin, settings }: MirrorProcess): Promise<void> {
  const address = loopbackAddress();
  await admin.putOrg(org, [address], signal);
  await writeFile(path.join(dir, "hosts"), `127.0.0.1 localhost\n${address} ${portlessHost} _api.internal\n`);
  const auth = Buffer.from(`slipway:${systemToken}`).toString("base64");
  for (const user of ["trusting", "distrusting"]) {
    await mkdir(path.join(dir, user, ".docker"), { recursive: true });
    await writeFile(path.join(dir, user, ".docker/config.json"), JSON.stringify({ auths: { [settings.registry.imageHost]: { auth } } }));
  }
  const hostBundle = await readFile(bundle, "utf8").catch(() => "");
  await writeFile(path.join(dir, "bundle.pem"), `${hostBundle}\n${await readFile(instancePaths.mirrorCa(settings), "utf8")}`);
}

/** A shell line where the image host is known, and the mirror's CA is among the trusted ones or not; `nobody` has no credentials. */
async function run(trust: "trusting" | "distrusting" | "nobody", line: string): Promise<string> {
  const env = {
    PATH: `${inject("toolsBinDir")}:${process.env.PATH}`,
    HOME: path.join(dir, trust),
    DOCKER_CONFIG: path.join(dir, trust, ".docker"),
    REGCTL_CONFIG: path.join(dir, `${trust}.regctl.json`),
  };
  const mounts = [`mount --bind ${dir}/hosts /etc/hosts`, ...(trust !== "distrusting" ? [`mount --bind ${dir}/bundle.pem ${bundle}`] : [])];
  const script = [...mounts, line].join("; ");
  const { stdout } = await exec("unshare", ["--mount", "bash", "-ec", script], { cwd: dir, env, maxBuffer: 16 * 1024 * 1024 });
  return stdout.trim();
}

const pushed = async (app: string, tag = "v1"): Promise<string | undefined> =>
  (await getImage(scratch.ns, `${host}/${org}/${app}:${tag}`, signal))?.target.digest;

const skopeo = "skopeo --policy policy.json";
/** What a user of each types, who trusts the CA, and who does not: how it pushes `layout`, and reads the digest back. */
const clients = {
  crane: {
    trusting: [(name: string) => `crane push layout ${name}`, (name: string) => `crane digest ${name}`],
    distrusting: [(name: string) => `crane push --insecure layout ${name}`, (name: string) => `crane digest --insecure ${name}`],
  },
  skopeo: {
    trusting: [
      (name: string) => `${skopeo} copy oci:layout docker://${name}`,
      (name: string) => `${skopeo} inspect --format '{{.Digest}}' docker://${name}`,
    ],
    distrusting: [
      (name: string) => `${skopeo} copy --dest-tls-verify=false oci:layout docker://${name}`,
      (name: string) => `${skopeo} inspect --tls-verify=false --format '{{.Digest}}' docker://${name}`,
    ],
  },
  regctl: {
    trusting: [(name: string) => `regctl image copy ocidir://layout@${image} ${name}`, (name: string) => `regctl manifest head ${name}`],
    distrusting: [
      (name: string) =>
        `regctl registry set --skip-check --tls disabled ${name.split("/")[0]}; regctl image copy ocidir://layout@${image} ${name}`,
      (name: string) => `regctl manifest head ${name}`,
    ],
  },
} as const;

describe.each(Object.entries(clients))("%s, which knows the mirror by the images' name alone,", (client, ways) => {
  it("pushes over HTTPS and pulls back, when it trusts the mirror's CA", async () => {
    const name = `${host}/${org}/${client}:v1`;
    const [push, digest] = ways.trusting;
    // regctl tries for seconds before it says so
    if (client !== "regctl") await expect(run("distrusting", push(name))).rejects.toThrow(/certificate|x509/);
    expect(await pushed(client)).toBeUndefined();
    await expect(run("nobody", push(name))).rejects.toThrow(/unauthorized|authentication required/i);
    expect(await pushed(client)).toBeUndefined();
    await run("trusting", push(name));
    expect(await run("trusting", digest(name))).toBe(image);
    await run("trusting", `crane validate --remote ${name}`);
    expect(await pushed(client)).toBe(image);
  });

  it("pushes and pulls back without the CA, when it is told to do without", async () => {
    const name = `${host}/${org}/${client}-plain:v1`;
    const [push, digest] = ways.distrusting;
    await run("distrusting", push(name));
    expect(await run("distrusting", digest(name))).toBe(image);
    expect(await pushed(`${client}-plain`)).toBe(image);
  });
});

describe("BuildKit", () => {
  const build = async (app: string, options: TestBuildkitOptions) => {
    const instead = { "/etc/hosts": path.join(dir, "hosts"), ...options.instead };
    await using buildkit = await openTestBuildkit(inject("toolsBinDir"), host, { ...options, instead });
    const context = path.join(dir, app);
    await mkdir(context);
    await writeFile(path.join(context, "Dockerfile"), "FROM scratch\nCOPY Dockerfile /page\n");
    await run(
      "distrusting",
      `buildctl --addr ${buildkit.address.replace("unix:", "unix://")} build --progress plain --frontend dockerfile.v0 ` +
        `--local context=${context} --local dockerfile=${context} --metadata-file ${app}.json ` +
        `--output type=image,name=${host}/${org}/${app}:v1,push=true 2>&1`,
    );
    const { "containerimage.digest": digest } = JSON.parse(await readFile(path.join(dir, `${app}.json`), "utf8")) as Record<string, string>;
    return digest;
  };

  it("without a single setting pushes over HTTPS, as the CA is in its bundle", async () => {
    const digest = await build("stock", { stock: true, instead: { [bundle]: path.join(dir, "bundle.pem") } });
    expect(await pushed("stock")).toBe(digest);
    expect(await run("trusting", `crane digest ${host}/${org}/stock:v1`)).toBe(digest);
  });

  it("with the builders' settings pushes over HTTP", async () => {
    const digest = await build("ours", {});
    expect(await pushed("ours")).toBe(digest);
  });
});

describe("a name of images without a port", () => {
  it("leads to the mirror at the ports of HTTPS and HTTP, too", async () => {
    const settings = (of: Settings) => guarded({ ...of, registry: { ...of.registry, imageHost: portlessHost } });
    await using other = await createMirrorProcess(inject("containerdSocket"), settings);
    await other.start();
    await writeNames(other);
    const name = `${portlessHost}/${org}/portless`;
    await run("trusting", `crane push layout ${name}:https`);
    await run(
      "distrusting",
      `regctl registry set --skip-check --tls disabled ${portlessHost}; regctl image copy ocidir://layout@${image} ${name}:http`,
    );
    for (const tag of ["https", "http"]) {
      expect((await getImage(scratch.ns, `${name}:${tag}`, signal))?.target.digest).toBe(image);
    }
    const ca = new X509Certificate(await readFile(instancePaths.mirrorCa(other.settings)));
    expect(ca.ca).toBe(true);
  });
});
