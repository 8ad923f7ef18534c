import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { connectControlPlane } from "../../../../cli/control-plane/connect.ts";
import { instancePaths, orgNamespace } from "../../../../config/paths.ts";
import { openContainerd } from "../../../../containerd/client.ts";
import { createMirrorAdmin } from "../../../../mirror/admin-client.ts";
import { tinyApp } from "../../../support/apps.ts";
import { slipway, startSlipway } from "../../../support/slipway.ts";
import { type TestStack, startTestStack } from "../../../support/stack.ts";

const exec = promisify(execFile);
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../../..");
let stack: TestStack;
let dir: string;
let host: string;

beforeAll(async () => {
  stack = await startTestStack();
  host = new URL(stack.settings.registry.url).host;
  dir = await mkdtemp(path.join(tmpdir(), "stack-access-"));
  await writeFile(path.join(dir, "slipway"), `#!/bin/sh\nexec "${process.execPath}" "${root}/cli/slipway.mjs" "$@"\n`);
  await chmod(path.join(dir, "slipway"), 0o755);
  await writeFile(path.join(dir, "hello"), "hello");
  await exec("tar", ["-cf", "layer.tar", "hello"], { cwd: dir });
});
afterAll(async () => {
  await stack?.stop();
  await rm(dir, { recursive: true, force: true });
});

/** One line of a shell, with a login file of its own when it is named. */
async function shell(line: string, login = "docs"): Promise<{ stdout: string; stderr: string }> {
  const env = {
    ...process.env,
    PATH: `${dir}:${inject("toolsBinDir")}:${process.env.PATH}`,
    SLIPWAY_DATA: stack.dataDir,
    DOCKER_CONFIG: path.join(dir, login),
    NO_COLOR: "1",
  };
  return exec("bash", ["-ec", `set -o pipefail; ${line}`], { cwd: dir, env });
}

/** A JWT, bare or as the login of a build. */
const buildToken = "eyJ[A-Za-z0-9_-]{10,}\\.eyJ[A-Za-z0-9_-]{20,}\\.|YnVpbGQ6ZXlK|c291cmNlOmV5S";

/** Takes the one secret whose id a Dockerfile can know, and tries what it is good for. */
/** What a stage "tools" has put into /www, over HTTP. */
const servingWww = [
  "FROM scratch",
  "COPY --from=tools /bin/busybox /bin/busybox",
  "COPY --from=tools /www /www",
  "COPY index.html /www/index.html",
  'ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]',
  "",
];

const nosyDockerfile = [
  "FROM busybox AS tools",
  "RUN --mount=type=secret,id=HTTP_AUTH_HEADER__api.internal,required=true \\",
  "  at=http://$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'):5000/v2/; mkdir /www; \\",
  '  ask() { name=$1; shift; wget -q -S -O /dev/null --header "Authorization: $(cat /run/secrets/*)" "$@" 2>&1; echo "$name $?"; }; \\',
  "  { ask api $at; ask tags ${at}default/nosy/tags/list; ask manifest ${at}default/web/manifests/latest; \\",
  "  ask upload --post-data= ${at}default/nosy/blobs/uploads/; } > /www/found",
  ...servingWww,
].join("\n");

const secretiveDockerfile = [
  "FROM busybox AS tools",
  "RUN --mount=type=secret,id=TOKEN,required=true --mount=type=secret,id=file,required=true \\",
  "  mkdir /www && echo the step ran && \\",
  "  { sha256sum < /run/secrets/TOKEN; sha256sum < /run/secrets/file; } | cut -d' ' -f1 > /www/seen",
  ...servingWww,
].join("\n");

/** Command lines and environments of all processes of the host. */
async function processesThatShow(pattern: string): Promise<string[]> {
  const shown = await Promise.all(
    (await readdir("/proc"))
      .filter((name) => /^\d+$/.test(name))
      .flatMap((pid) => [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`])
      .map(async (file) => {
        const text = await readFile(file, "utf8").catch(() => "");
        return new RegExp(pattern).test(text) ? [`${file}: ${text}`] : [];
      }),
  );
  return shown.flat();
}

type Made = { token: string; id: string; org: string; app?: string; actions: string[] };
async function createToken(...args: string[]): Promise<Made> {
  const { code, stdout, stderr } = await slipway(stack.dataDir, ["tokens", "create", "-o", "json", ...args]);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Made;
}
const login = (token: string, as: string) => shell(`printf %s ${token} | crane auth login ${host} -u token --password-stdin`, as);
const askToken = (token: string) =>
  fetch(`${stack.settings.registry.url}/token`, { headers: { authorization: `Basic ${Buffer.from(`t:${token}`).toString("base64")}` } });

describe("an instance that `up` made", () => {
  it("refuses whoever comes without a token, and keeps its own where only its owner reads it", async () => {
    const { registry } = stack.settings;
    expect(registry.auth).toBe("tokens");
    expect((await fetch(`${registry.url}/v2/`)).status).toBe(401);
    await expect(shell(`crane append -f layer.tar -t ${host}/default/web:v1`, "nobody")).rejects.toThrow(/UNAUTHORIZED|401/);
    expect((await stat(instancePaths.settings(stack.dataDir))).mode & 0o777).toBe(0o600);
  });

  it("makes base images, deploys and replicates with a token of its own, which no log shows", { timeout: 300_000 }, async () => {
    const bases = await slipway(stack.dataDir, ["image", "bases", "busybox"]);
    expect(bases.code, bases.stderr).toBe(0);
    await using app = await tinyApp("web", "guarded");
    const { code, stderr } = await slipway(stack.dataDir, ["deploy", app.dir, "--wait-for", "replicated"]);
    expect(code, stderr).toBe(0);
    const logs = path.join(stack.dataDir, "logs");
    const files = (await readdir(logs, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
    expect(files.length).toBeGreaterThan(5);
    for (const file of files) {
      expect(await readFile(path.join(file.parentPath, file.name), "utf8")).not.toContain(stack.settings.registry.systemToken);
    }
  });

  it("gives a build credentials that stay nowhere, and that a step of it gains nothing by", { timeout: 300_000 }, async () => {
    await using app = await tinyApp("nosy", "nosy", { Dockerfile: nosyDockerfile });
    const building = startSlipway(stack.dataDir, ["deploy", app.dir, "-o", "json"]);
    const seen: string[] = [];
    let isOver = false;
    const finished = building.finished.finally(() => (isOver = true));
    while (!isOver) {
      seen.push(...(await processesThatShow(buildToken)));
      await sleep(100);
    }
    const { code, stdout, stderr } = await finished;
    expect(code, stderr).toBe(0);
    // the step itself says it to what it asks
    expect(seen.filter((shown) => !shown.includes("wget -q -S -O /dev/null --header"))).toEqual([]);
    const { url } = JSON.parse(stdout) as { url: string };
    const found = await (await fetch(`${url}/found`)).text();
    // it is a credential, so that the refusals are of what it asks for
    expect(found.split("\n")).toEqual(expect.arrayContaining(["api 0", "tags 1", "manifest 1", "upload 1"]));
    expect(found).toMatch(/403 Forbidden/);

    const admin = createMirrorAdmin(stack.settings.mirror.adminSocket);
    const { token } = await admin.mintToken(stack.settings.defaultOrg, { app: "nosy" }, AbortSignal.timeout(10_000));
    for (const user of ["build", "source"]) {
      expect(`Basic ${Buffer.from(`${user}:${token}`).toString("base64")}`).toMatch(new RegExp(buildToken));
    }
    expect(token).toMatch(new RegExp(buildToken));
    // Temporal's database, logs, the bucket, the builder's cache, content and what was unpacked of it
    const { stdout: files } = await exec("grep", ["-raElI", "--binary-files=text", buildToken, stack.dataDir]).catch(
      (error: { code: number; stdout: string; stderr: string }) => {
        if (error.code === 1) return { stdout: "" };
        throw error as unknown;
      },
    );
    expect(files).toBe("");
  });

  it("gives a step the build secrets, and keeps their values nowhere", { timeout: 300_000 }, async () => {
    const canary = `canary-${randomBytes(12).toString("hex")}`;
    await writeFile(path.join(dir, "canary"), `of-a-file-${canary}`);
    await using app = await tinyApp("secretive", "secretive", { Dockerfile: secretiveDockerfile });
    const args = ["deploy", app.dir, "-o", "json", "--no-cache", "--build-secret", "TOKEN", "--build-secret-file", "file=canary"];
    args.push("--label", "team=of a test", "--wait-for", "replicated");
    const deploying = startSlipway(stack.dataDir, args, { cwd: dir, env: { TOKEN: canary } });
    const seen = new Set<string>();
    let isOver = false;
    const finished = deploying.finished.finally(() => (isOver = true));
    while (!isOver) {
      for (const shown of await processesThatShow(canary)) if (!shown.startsWith(`/proc/${deploying.pid}/environ`)) seen.add(shown);
      await sleep(100);
    }
    const { code, stdout, stderr } = await finished;
    expect(code, stderr).toBe(0);
    expect([...seen]).toEqual([]);
    const { url, workflow_id: workflowId, image } = JSON.parse(stdout) as { url: string; workflow_id: string; image: { digest: string } };
    // what the step saw, by its hash
    const hashes = [canary, `of-a-file-${canary}`].map((text) => createHash("sha256").update(text).digest("hex"));
    expect((await (await fetch(`${url}/seen`)).text()).trim().split("\n")).toEqual(hashes);

    await login((await createToken("--org", "default", "--pull")).token, "labels");
    const { stdout: config } = await shell(`crane config ${host}/default/secretive@${image.digest}`, "labels");
    expect(JSON.parse(config)).toMatchObject({ config: { Labels: { team: "of a test" } } });
    expect(config).not.toContain(canary);

    await using controlPlane = await connectControlPlane(stack.settings);
    const history = await controlPlane.client.workflow.getHandle(workflowId).fetchHistory();
    const payloads = (history.events ?? []).flatMap((event) => [
      ...(event.workflowExecutionStartedEventAttributes?.input?.payloads ?? []),
      ...(event.activityTaskScheduledEventAttributes?.input?.payloads ?? []),
    ]);
    const inputs = payloads.map(({ data }) => Buffer.from(data ?? []).toString()).join();
    expect(inputs).toContain("sealedSecrets");
    const { stdout: log } = await slipway(stack.dataDir, ["runs", "logs", workflowId]);
    expect(log).toContain("the step ran");
    const base64 = Buffer.from(canary).toString("base64").slice(0, -4);
    for (const text of [inputs, log, stdout, stderr]) for (const form of [canary, base64]) expect(text).not.toContain(form);
    // Temporal's database, logs, the bucket, the builder's cache, content and what was unpacked of it
    const { stdout: files } = await exec("grep", ["-raElI", "--binary-files=text", `${canary}|${base64}`, stack.dataDir]).catch(
      (error: { code: number; stdout: string; stderr: string }) => {
        if (error.code === 1) return { stdout: "" };
        throw error as unknown;
      },
    );
    expect(files).toBe("");
  });

  it("keeps its token when it comes up again", async () => {
    expect((await stack.up()).changed).toBe(false);
    const kept = JSON.parse(await readFile(instancePaths.settings(stack.dataDir), "utf8")) as TestStack["settings"];
    expect(kept.registry.systemToken).toBe(stack.settings.registry.systemToken);
  });
});

describe("docs/registry.md", () => {
  it("shows commands that work as they stand", async () => {
    const text = await readFile(path.join(root, "docs/registry.md"), "utf8");
    const access = text.slice(text.indexOf("## Access"));
    const lines = /```console\n(.*?)```/s
      .exec(access)![1]!
      .split("\n")
      .filter((line) => line.startsWith("$ "));
    expect(lines.length).toBeGreaterThanOrEqual(4);
    for (const line of lines) await shell(line.slice(2).replaceAll("127.0.0.1:5001", host));
    const { stdout } = await shell(`crane manifest ${host}/default/web:hello`);
    expect((JSON.parse(stdout) as { layers: unknown[] }).layers).toHaveLength(1);
  });
});

describe("slipway proxy builder", () => {
  it(
    "leads buildctl to the builder of the host worker, which pushes to the mirror with the client's own token",
    { timeout: 120_000 },
    async () => {
      const { token } = await createToken("--push", "--name", "laptop");
      const { imageHost } = stack.settings.registry;
      const socket = path.join(dir, "b.sock");
      const proxy = startSlipway("/nonexistent", ["proxy", "builder", "--listen", `unix:${socket}`], {
        env: { SLIPWAY_GATE: `http://127.0.0.1:${stack.settings.builder.gate!.listen.port}`, SLIPWAY_TOKEN: token },
      });
      await expect.poll(() => proxy.stderr(), { timeout: 30_000 }).toContain("buildctl --addr");
      const name = `${imageHost}/default/laptop:v1`;
      const build =
        `mkdir -p laptop && printf 'FROM scratch\\nCOPY Dockerfile /\\n' > laptop/Dockerfile && ` +
        `buildctl --addr unix://${socket} build --progress plain --frontend dockerfile.v0 --local context=laptop ` +
        `--local dockerfile=laptop --output type=image,name=${name},push=true`;
      await expect(shell(build, "nobody")).rejects.toThrow(/401|authorization|authentication/i);
      // the login as docs/builder.md has it
      const docs = await readFile(path.join(root, "docs/builder.md"), "utf8");
      const login = docs.split("\n").filter((line) => /^\$ (export DOCKER_CONFIG|printf )/.test(line));
      expect(login).toHaveLength(2);
      await shell([`export HOME=${dir} TOKEN=${token}`, ...login.map((line) => line.slice(2)), build].join("; "));
      await using containerd = openContainerd(stack.settings.containerd.socket);
      const images = containerd.namespace(orgNamespace("default")).images;
      expect((await images.get({ name }, { signal: AbortSignal.timeout(10_000) })).image?.target?.digest).toMatch(/^sha256:/);
      const { stdout } = await slipway(stack.dataDir, ["builder", "status", "-o", "json"]);
      expect(JSON.parse(stdout)).toMatchObject({ org: "default", state: "running" });
      proxy.kill("SIGTERM");
      expect((await proxy.finished).code).toBe(0);
    },
  );
});

describe("slipway tokens", () => {
  it("makes tokens that are good for their scope and nothing else", async () => {
    const made = await createToken("--org", "acme", "--app", "web", "--pull");
    expect(made).toMatchObject({ org: "acme", app: "web", actions: ["pull"] });
    await login((await createToken("--org", "acme", "--push")).token, "pusher");
    await login(made.token, "reader");
    await shell(`crane append -f layer.tar -t ${host}/acme/web:v1`, "pusher");
    await shell(`crane append -f layer.tar -t ${host}/acme/api:v1`, "pusher");
    await shell(`crane manifest ${host}/acme/web:v1`, "reader");
    await expect(shell(`crane manifest ${host}/acme/api:v1`, "reader")).rejects.toThrow(/UNAUTHORIZED|401/);
    await expect(shell(`crane append -f layer.tar -t ${host}/acme/web:v2`, "reader")).rejects.toThrow(/UNAUTHORIZED|401/);
    await expect(shell(`crane append -f layer.tar -t ${host}/default/web:v2`, "pusher")).rejects.toThrow(/UNAUTHORIZED|401/);
    await expect(shell(`crane catalog ${host}`, "pusher")).rejects.toThrow();
  });

  it("are listed without their secrets, revoked by id, and Temporal knows who made what but no secret", { timeout: 60_000 }, async () => {
    const made = await createToken("--org", "listed", "--expires", "90d", "--name", "of a test");
    const secret = made.token.split("_").slice(2).join("_");
    const list = async (...args: string[]) => (await slipway(stack.dataDir, ["tokens", "list", "--org", "listed", ...args])).stdout;
    const listed = await list("-o", "json");
    expect(JSON.parse(listed)).toMatchObject({ schema_version: 1, tokens: [{ id: made.id, name: "of a test", actions: ["pull"] }] });
    expect(await list()).toMatch(new RegExp(`^ID .*STATE\\n${made.id}  of a test  listed/\\*  pull     \\d+s   valid for \\d+d\\n$`));
    expect((await askToken(made.token)).status).toBe(200);

    const revoked = await slipway(stack.dataDir, ["tokens", "revoke", made.id]);
    expect([revoked.code, revoked.stdout]).toEqual([0, `${made.id} revoked\n`]);
    expect((await slipway(stack.dataDir, ["tokens", "revoke", made.id])).code).toBe(0);
    await expect.poll(async () => (await askToken(made.token)).status, { timeout: 30_000, interval: 1000 }).toBe(401);
    expect(await list()).toContain("revoked");

    await using controlPlane = await connectControlPlane(stack.settings);
    const history = await controlPlane.client.workflow.getHandle(`token/${made.id}/create`).fetchHistory();
    const payloads = (history.events ?? []).flatMap((event) => event.workflowExecutionStartedEventAttributes?.input?.payloads ?? []);
    const inputs = payloads.map(({ data }) => Buffer.from(data ?? []).toString());
    expect(inputs.join()).toContain(made.id);
    expect(JSON.stringify(history) + inputs.join()).not.toContain(secret);
    expect(listed + (await list())).not.toContain(secret);
  });

  it.each([
    [["create", "--expires", "soon"], 'Cannot read --expires "soon": expected a duration such as "90d" or "12h"'],
    [["create", "--app", "No/App"], 'Cannot use "No/App": expected at most 40 of lower-case letters'],
    [["create", "--name", ""], 'Cannot use --name "": expected 1 to 100 characters'],
    [["create", "--name", "x".repeat(101)], "expected 1 to 100 characters"],
    [["revoke", "0123456789abcdef"], 'Cannot find token "0123456789abcdef"'],
    [["revoke", "../x"], 'Cannot find token "../x"'],
  ])("%j ends with 2 and says why", async (args, message) => {
    const { code, stderr } = await slipway(stack.dataDir, ["tokens", ...args]);
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining(message) as string });
  });
});
