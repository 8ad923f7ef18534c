import { readFileSync } from "node:fs";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { MockActivityEnvironment } from "@temporalio/testing";
import { pack } from "tar-stream";
import { contextUrl } from "../../activities/source-context.ts";
import { builderAddress, mirrorName } from "../../builder/names.ts";
import { runProgram } from "../../machines/run-program.ts";
import { parseRepository } from "../../oci/repository.ts";
import type { SourceRef } from "../../workflows/types.ts";
import { median, rounded } from "../median.ts";
import { type BuildHost, openBuildHost } from "./host.ts";

const app = "web";
const orgs = ["one", "two", "three", "four", "five"] as const;
const [org] = orgs;
const atOnce = 10;

/**
 * A cached build through the whole activity (acquire, credentials, session, solve, log) beside `buildctl build` of the same context URL and
 * options on the same builder, in turns; both push. Then ten builds at once, each with a step that no other has, in one org and in five.
 *
 * `--rounds N`
 */
export async function run(args: readonly string[]): Promise<Record<string, unknown>> {
  const { values } = parseArgs({ args: [...args], options: { rounds: { type: "string", default: "15" } } });
  const signal = AbortSignal.timeout(30 * 60_000);
  await using host = await openBuildHost(orgs, signal);
  const sources = new Map<string, SourceRef>();
  for (const each of orgs) sources.set(each, await uploadSource(host, each, dockerfile));
  const source = sources.get(org)!;

  const ways: Readonly<Record<string, () => Promise<unknown>>> = {
    activity: () => build(host, org, source),
    buildctl: () => buildctl(host, source, signal),
  };
  await host.builders.wake(org, { signal });
  const figures: Record<string, number[]> = {};
  // round 0 fills the cache
  for (let round = 0; round <= Number(values.rounds); round++) {
    const names = Object.keys(ways);
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const tookMs = await timed(ways[name]!);
      if (round > 0) (figures[name] ??= []).push(tookMs);
    }
  }
  const together: Record<string, number> = {};
  for (const each of orgs) await build(host, each, sources.get(each)!);
  const fresh = async (of: string) =>
    build(host, of, await uploadSource(host, of, `${dockerfile}RUN echo ${crypto.randomUUID()} > /own\n`));
  const cases: Readonly<Record<string, readonly string[]>> = {
    one: [org],
    tenInOneOrg: Array.from({ length: atOnce }, () => org),
    tenInFiveOrgs: Array.from({ length: atOnce }, (_, at) => orgs[at % orgs.length]!),
  };
  const rounds: Record<string, number[]> = {};
  for (let round = 0; round < 3; round++) {
    for (const [name, list] of Object.entries(cases)) {
      (rounds[name] ??= []).push(await timed(() => Promise.all(list.map(fresh))));
    }
  }
  for (const [name, ms] of Object.entries(rounds)) together[name] = rounded(median(ms));
  const summary = (name: string) => {
    const ms = figures[name]!;
    return { median: rounded(median(ms)), min: rounded(Math.min(...ms)), max: rounded(Math.max(...ms)) };
  };
  return {
    rounds: Number(values.rounds),
    cachedMs: { activity: summary("activity"), buildctl: summary("buildctl") },
    activityToBuildctl: rounded(median(figures.activity!) / median(figures.buildctl!), 2),
    aim: { activityToBuildctl: 1.1 },
    wallMs: together,
  };
}

const dockerfile = `FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY site /site
RUN find /site -type f | wc -l > /count
RUN echo one > /one
RUN echo two > /two
`;

async function build({ activities }: BuildHost, of: string, source: SourceRef): Promise<void> {
  const runId = crypto.randomUUID();
  const input = {
    org: of,
    app,
    workflowId: `bench/${runId}`,
    runId,
    source,
    build: { dockerfile: "Dockerfile", args: {} },
    noCache: false,
    labels: {},
  };
  await new MockActivityEnvironment().run(async () => await activities.build(input));
}

async function buildctl({ settings }: BuildHost, source: SourceRef, signal: AbortSignal): Promise<void> {
  const image = `${settings.registry.imageHost}/${source.repository}:by-hand-${crypto.randomUUID()}`;
  await runProgram(
    path.join(settings.tools.binDir, "buildctl"),
    [
      `--addr=${builderAddress(settings, org)}`,
      "build",
      "--progress=plain",
      "--frontend=dockerfile.v0",
      `--opt=context=${contextUrl(mirrorName(settings), source)}`,
      "--opt=filename=Dockerfile",
      `--output=type=image,"name=${image}",push=true,compression=zstd,compression-level=1,oci-mediatypes=true`,
    ],
    { signal },
  );
}

/** A tar with a Dockerfile, a busybox and 500 small files, where the mirror finds what the CLI uploads. */
async function uploadSource(host: BuildHost, of: string, text: string): Promise<SourceRef> {
  const archive = pack();
  const entry = { mode: 0o755, mtime: new Date(0) };
  archive.entry({ name: "Dockerfile", ...entry }, text);
  archive.entry({ name: "busybox", ...entry }, readFileSync("/bin/busybox"));
  for (let at = 0; at < 500; at++) archive.entry({ name: `site/${at}.txt`, ...entry }, `page ${at}\n`.repeat(50));
  archive.finalize();
  const tar = await buffer(archive);
  const [digest, repository] = [host.upload(tar), parseRepository(`${of}/${app}`)];
  return { repository, digest, sizeBytes: tar.length };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAtMs = performance.now();
  await work();
  return performance.now() - startedAtMs;
}
