import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { BuildFailed, BuildRefused, BuilderLost, PushFailed, SourceUnavailable } from "../../../builder/buildkit/errors.ts";
import type { BuildEvent } from "../../../builder/buildkit/progress.ts";
import { type SolveInput, type SolveOutput, solve } from "../../../builder/buildkit/solve.ts";
import { hostArchitecture } from "../../../containerd/image.ts";
import { type Digest, digestOf } from "../../../oci/digest.ts";
import { type TestBuildkit, openTestBuildkit } from "./buildkit-daemon.ts";
import { type StandIn, openStandIn, tarOf } from "./stand-in.ts";

const busybox = readFileSync("/bin/busybox");

/** busybox as the base, from the context itself: no registry is asked for anything. */
const base = `# syntax=docker/dockerfile:1
FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "ln", "-s", "busybox", "/bin/sh"]
FROM base
COPY page /page
`;

describe("a solve on a real buildkitd", () => {
  let mirror: StandIn;
  let buildkit: TestBuildkit;

  beforeAll(async () => {
    mirror = await openStandIn();
    buildkit = await openTestBuildkit(inject("toolsBinDir"), mirror.host);
  });

  afterAll(async () => {
    await buildkit?.[Symbol.asyncDispose]();
    await mirror?.[Symbol.asyncDispose]();
  });

  type Options = Partial<SolveInput> & { signal?: AbortSignal; onEvent?: (event: BuildEvent) => void; files?: Record<string, string> };

  async function build(dockerfile: string, { files = {}, signal, onEvent, ...input }: Options = {}): Promise<SolveOutput> {
    const tar = await tarOf({ Dockerfile: dockerfile, busybox, page: "hello", ...files });
    return await solve(
      {
        address: buildkit.address,
        contextUrl: `http://${mirror.host}${mirror.addSource(tar)}`,
        dockerfile: "Dockerfile",
        buildArgs: {},
        labels: {},
        noCache: false,
        imageName: `${mirror.host}/acme/web:1`,
        ...input,
      },
      { signal: signal ?? AbortSignal.timeout(60_000), ...(onEvent === undefined ? {} : { onEvent }) },
    );
  }

  const failureOf = async (building: Promise<SolveOutput>): Promise<unknown> =>
    building.then(
      () => undefined,
      (error: unknown) => error,
    );

  it("builds from a tar behind a URL without extension, with a syntax line, and pushes what it says", async () => {
    const result = await build(base, { labels: { "slipway.commit": "abc" } });
    const manifest = JSON.parse(mirror.pushed.get("1")!.toString()) as {
      config: { digest: Digest };
      layers: { mediaType: string; digest: Digest }[];
    };
    expect(digestOf(mirror.pushed.get("1")!)).toBe(result.exporterDigest);
    expect(manifest.layers.map((layer) => layer.mediaType)).toEqual(Array(3).fill("application/vnd.oci.image.layer.v1.tar+zstd"));
    for (const { digest } of [manifest.config, ...manifest.layers]) expect(digestOf(mirror.pushed.get(digest)!)).toBe(digest);
    const config = JSON.parse(mirror.pushed.get(manifest.config.digest)!.toString()) as { config: { Labels: unknown } };
    expect(config.config.Labels).toEqual({ "slipway.commit": "abc" });
  });

  it("takes from the cache what a changed tar left unchanged", async () => {
    await build(base);
    expect(await build(base)).toMatchObject({ steps: 3, cachedSteps: 3 });
    expect(await build(base, { files: { unused: String(Math.random()) } })).toMatchObject({ steps: 3, cachedSteps: 3 });
    expect(await build(base, { files: { page: "changed" } })).toMatchObject({ steps: 3, cachedSteps: 2 });
    expect(await build(base, { noCache: true })).toMatchObject({ steps: 3, cachedSteps: 0 });
  });

  it("builds the target with the build arguments it was given", async () => {
    const lines: string[] = [];
    const dockerfile = `${base}FROM base AS other\nARG GREETING\nRUN /bin/busybox echo "said $GREETING"\nFROM base\nRUN exit 9\n`;
    await build(dockerfile, {
      target: "other",
      buildArgs: { GREETING: "ahoy" },
      onEvent: (event) => void (event.type === "log" && lines.push(event.line)),
    });
    expect(lines).toContain("said ahoy");
  });

  it("takes a stage's or an image's place with a folder, a file, or no image at all", async () => {
    const lines: string[] = [];
    const folder = await tarOf({ "notes/one": "of a folder", two: "beside it" });
    const served = (tar: Buffer) => `http://${mirror.host}${mirror.addSource(tar)}`;
    const dockerfile = `${base}FROM nobody/shared:2 AS given
FROM base
COPY --from=shared /notes /notes
COPY --from=given /two /
COPY --from=file /context /file
COPY --from=nothing / /
RUN /bin/busybox cat /notes/one /two /file
`;
    await build(dockerfile, {
      contexts: {
        shared: { tarUrl: served(folder) },
        "nobody/shared:2": { tarUrl: served(folder) },
        file: { address: served(Buffer.from("of a file")) },
        nothing: { address: "docker-image://scratch" },
      },
      onEvent: (event) => void (event.type === "log" && lines.push(event.line)),
    });
    expect(lines.join(" ")).toBe("of a folderbeside itof a file");
  });

  it("tells a folder that cannot be fetched from a wrong Dockerfile", async () => {
    const contexts = { shared: { tarUrl: `http://${mirror.host}/v2/acme/web/blobs/nothing` } };
    expect(await failureOf(build(`${base}COPY --from=shared / /\n`, { contexts }))).toBeInstanceOf(SourceUnavailable);
  });

  it("builds for the platform that it is told, if it can", async () => {
    const own = `linux/${hostArchitecture}`;
    await build(`${base}ARG TARGETPLATFORM\nRUN /bin/busybox test $TARGETPLATFORM = ${own}\n`, { platform: own });
    const error = await failureOf(build(base, { platform: "linux/s390x" }));
    expect(error).toBeInstanceOf(BuildRefused);
    expect((error as Error).message).toMatch(
      new RegExp(`^Cannot build for platform "linux/s390x": the machines of this host cannot run it, expected .*${own}`),
    );
  });

  it("says which step failed, where it stands in the Dockerfile, and its last lines", async () => {
    const error = await failureOf(build(`${base}RUN /bin/busybox echo one && /bin/busybox echo two >&2 && exit 3\n`));
    expect(error).toBeInstanceOf(BuildFailed);
    const { step, lastLines, line } = error as BuildFailed;
    expect(step).toMatch(/^\[stage-1 2\/2\] RUN /);
    expect(lastLines.toSorted()).toEqual(["one", "two"]);
    expect(line).toMatchObject({ file: "Dockerfile", first: 7 });
  });

  it("says where a Dockerfile cannot be parsed", async () => {
    const error = await failureOf(build(`${base}RUNN true\n`));
    expect(error).toBeInstanceOf(BuildFailed);
    expect(error).toMatchObject({ step: undefined, line: { first: 7, text: ["RUNN true"] } });
  });

  it("serves a secret to the step that mounts it, and leaves it out of the image", async () => {
    const lines: string[] = [];
    const dockerfile = `${base}RUN --mount=type=secret,id=token /bin/busybox wc -c /run/secrets/token\n`;
    await build(dockerfile, {
      secrets: { token: "s3cr3t" },
      onEvent: (event) => void (event.type === "log" && lines.push(event.line)),
    });
    expect(lines).toEqual(["6 /run/secrets/token"]);
    for (const bytes of mirror.pushed.values()) expect(bytes.includes("s3cr3t")).toBe(false);
  });

  it("makes the same image again, byte for byte, of a source with a SOURCE_DATE_EPOCH", async () => {
    const dockerfile = `${base}RUN /bin/busybox touch /now\n`;
    const reproducible = { noCache: true, buildArgs: { SOURCE_DATE_EPOCH: "1700000000" } };
    const first = await build(dockerfile, reproducible);
    await sleep(1100); // dates of layers have whole seconds
    expect(await build(dockerfile, reproducible)).toMatchObject({ cachedSteps: 0, exporterDigest: first.exporterDigest });
    const manifest = JSON.parse(mirror.pushed.get("1")!.toString()) as { config: { digest: Digest } };
    const config = JSON.parse(mirror.pushed.get(manifest.config.digest)!.toString()) as { created: string };
    expect(config.created).toBe("2023-11-14T22:13:20Z");
  });

  it("shows a Dockerfile with heredocs, stages that run beside each other, and a cache mount that the next build finds", async () => {
    const dockerfile = [
      `${base}FROM base AS one`,
      "RUN <<SCRIPT",
      "set -e",
      "/bin/busybox echo from a heredoc > /one",
      "SCRIPT",
      "FROM base AS two",
      "ARG ROUND",
      "RUN --mount=type=cache,target=/kept /bin/busybox echo $ROUND >> /kept/rounds && /bin/busybox cp /kept/rounds /two",
      "FROM base",
      "COPY <<TEXT /three",
      "a file of its own",
      "TEXT",
      "COPY --from=one /one /",
      "COPY --from=two /two /",
      "RUN /bin/busybox cat /one /two /three",
      "",
    ].join("\n");
    const linesOf = async (round: string) => {
      const lines: string[] = [];
      await build(dockerfile, { buildArgs: { ROUND: round }, onEvent: (event) => void (event.type === "log" && lines.push(event.line)) });
      return lines;
    };
    expect(await linesOf("first")).toEqual(["from a heredoc", "first", "a file of its own"]);
    expect(await linesOf("second")).toEqual(["from a heredoc", "first", "second", "a file of its own"]);
  });

  it("refuses a secret that the build was not given", async () => {
    const dockerfile = `${base}RUN --mount=type=secret,id=other,required=true true\n`;
    const error = await failureOf(build(dockerfile, { secrets: { token: "s3cr3t" } }));
    expect(error).toBeInstanceOf(BuildFailed);
    expect((error as Error).message).toContain("secret other: not found");
  });

  it("tells a source that is not there from a wrong Dockerfile", async () => {
    const error = await failureOf(build(base, { contextUrl: `http://${mirror.host}/v2/acme/web/blobs/nothing` }));
    expect(error).toBeInstanceOf(SourceUnavailable);
  });

  it("tells a push that the registry refuses from a failed build", async () => {
    expect(await failureOf(build(base, { imageName: `${mirror.host}/refused/web:1` }))).toBeInstanceOf(PushFailed);
  });

  it("outlives two of buildkitd's health checks without a word from the step", async () => {
    await expect(build(`${base}RUN /bin/busybox sleep 12\n`)).resolves.toMatchObject({ steps: 4 });
  });

  it("ends the running step at once when it is cancelled", async () => {
    const cancel = new AbortController();
    const building = failureOf(
      build(`${base}RUN /bin/busybox sleep 1000\n`, {
        signal: cancel.signal,
        onEvent: (event) => void (event.type === "started" && event.name.includes("sleep 1000") && cancel.abort(new Error("enough"))),
      }),
    );
    expect(await building).toMatchObject({ message: "enough" });
    await expect.poll(async () => await processesNamed("sleep 1000"), { timeout: 10_000 }).toEqual([]);
  });

  it("says that the builder is lost when buildkitd dies in the middle", async () => {
    await using mortal = await openTestBuildkit(inject("toolsBinDir"), mirror.host);
    const error = await failureOf(
      build(`${base}RUN /bin/busybox sleep 30\n`, {
        address: mortal.address,
        onEvent: (event) => void (event.type === "started" && event.name.includes("sleep 30") && void sleep(100).then(() => mortal.kill())),
      }),
    );
    expect(error).toBeInstanceOf(BuilderLost);
  });

  describe("where the operator allows it", () => {
    let allowing: TestBuildkit;
    beforeAll(async () => {
      const allowance = { frontends: [`${mirror.host}/acme/frontend`], entitlements: ["security.insecure"] } as const;
      allowing = await openTestBuildkit(inject("toolsBinDir"), mirror.host, { allowance });
    });
    afterAll(async () => await allowing?.[Symbol.asyncDispose]());

    const insecure = `${base}RUN --security=insecure /bin/busybox grep -c Seccomp:.0 /proc/self/status\n`;

    it("gives a step that asks for it what the deploy asked for, too", async () => {
      const lines: string[] = [];
      const onEvent = (event: BuildEvent) => void (event.type === "log" && lines.push(event.line));
      await build(insecure, { address: allowing.address, entitlements: ["security.insecure"], onEvent });
      expect(lines).toEqual(["1"]);
    });

    it("refuses the step when the deploy did not ask, and says how to", async () => {
      const error = await failureOf(build(insecure, { address: allowing.address }));
      expect(error).toBeInstanceOf(BuildFailed);
      expect((error as Error).message).toMatch(/security.insecure is not allowed; deploy with --allow security.insecure/);
    });

    it("follows a syntax line to a frontend of the list, and to no other", async () => {
      const failure = async (frontend: string) =>
        (await failureOf(build(`# syntax=${frontend}\nFROM scratch\n`, { address: allowing.address, followsSyntax: true }))) as Error;
      expect((await failure(`${mirror.host}/acme/frontend:1`)).message).toContain(
        `resolve source metadata for ${mirror.host}/acme/frontend:1`,
      );
      expect((await failure("docker.io/docker/dockerfile:1")).message).toContain("is not an allowed gateway source");
    });
  });

  it("says that the builder is lost when nobody listens", async () => {
    expect(await failureOf(build(base, { address: "unix:/nonexistent/buildkitd.sock" }))).toBeInstanceOf(BuilderLost);
  });
});

async function processesNamed(words: string): Promise<string[]> {
  const { readdir, readFile } = await import("node:fs/promises");
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")));
  return lines.map((line) => line.replaceAll("\0", " ")).filter((line) => line.includes(`busybox ${words}`) && !line.includes("-c"));
}
