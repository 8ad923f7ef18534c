import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { builderMachineId } from "../../../machines/types.ts";
import { cgroupPids, machineCgroup } from "../../../machines/cgroup.ts";
import { type SourceDir, sourceDir, tinyApp, tinyConfig } from "../../support/apps.ts";
import { openGitServer } from "../../support/git-server.ts";
import { eventually } from "../../support/eventually.ts";
import { leftoversOf } from "../../support/leftovers.ts";
import { probe } from "../../support/probe.ts";
import { slipway, startSlipway } from "../../support/slipway.ts";
import { urlOf } from "../../support/app-url.ts";
import { type TestStack, startTestStack } from "../../support/stack.ts";

type Result = {
  status: string;
  changed: boolean;
  release: { version: number; previous?: number };
  image: { digest: string };
  machines: { id: string }[];
  links: { ui: string };
  error?: { code: string; stage: string; message: string; serving: string; log_tail: string[] };
};

let stack: TestStack;
let source: SourceDir;
let url = "";
/** what is told to serve after a run that failed */
let servingThree = "";

const run = (...args: string[]) => slipway(stack.dataDir, args);
const deploy = async (...args: string[]) => {
  const ended = await run("deploy", source.dir, "-o", "json", ...args);
  return { ...ended, result: (ended.stdout === "" ? {} : JSON.parse(ended.stdout)) as Result };
};

beforeAll(async () => {
  stack = await startTestStack();
  source = await tinyApp("web", "one");
  const bases = await run("image", "bases", "busybox");
  expect(bases.code, bases.stderr).toBe(0);
});

afterAll(async () => {
  await source?.[Symbol.asyncDispose]();
  await stack?.stop();
});

describe("slipway deploy", () => {
  it("brings a source directory to a machine that answers", async () => {
    const { code, stderr, result } = await deploy();
    expect(code, stderr).toBe(0);
    expect(result).toMatchObject({ status: "live", changed: true, release: { version: 1 } });
    url = await urlOf(stack, "web");
    expect(await (await fetch(url)).text()).toBe("one");
  });

  it("uploads nothing and builds from cache when the source has not changed", async () => {
    const { code, stderr } = await deploy();
    expect(code, stderr).toBe(0);
    expect(stderr).toContain("nothing to upload");
    expect(stderr).toMatch(/CACHED \[stage-1 2\/2\] COPY index.html/);
  });

  it("builds anew only what depends on the file that changed", async () => {
    await source.write("index.html", "two");
    const { code, stderr } = await deploy();
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/CACHED \[stage-1 1\/2\] COPY --from=tools \/bin\/busybox \/bin\/busybox/);
    expect(stderr).not.toMatch(/CACHED \[stage-1 2\/2\] COPY index.html/);
    expect(await (await fetch(url)).text()).toBe("two");
  });

  it("loses no request while a release takes another's place", async () => {
    await source.write("index.html", "three");
    await using probing = probe(url);
    const { code, stderr, result } = await deploy();
    expect(code, stderr).toBe(0);
    servingThree = `v${result.release.version}, as before`;
    await sleep(1500);
    const { failures, bodies } = await probing.stop();
    expect(failures).toEqual([]);
    expect([...bodies]).toEqual(["two", "three"]);
  });

  it("leaves the old release serving when the new one fails its check, and shows its log", async () => {
    await source.write("index.html", "four");
    await source.write("slipway.toml", tinyConfig("web", "/missing.html", "3s"));
    const { code, stderr, result } = await deploy();
    expect(code, stderr).toBe(6);
    expect(result.error).toMatchObject({ code: "DEPLOY_UNHEALTHY", stage: "rollout", serving: servingThree });
    expect(result.error!.log_tail.join("\n")).toContain("response:404");
    expect(stderr).toContain(`\nServing: ${servingThree}\n`);
    expect(await (await fetch(url)).text()).toBe("three");
    await source.write("slipway.toml", tinyConfig("web"));
  });

  it("leaves the old release serving when the new one does not even start", async () => {
    await source.write("Dockerfile", 'FROM scratch\nCOPY index.html /index.html\nENTRYPOINT ["/no-such-program"]\n');
    const { code, stderr, result } = await deploy();
    expect(code, stderr).toBe(6);
    expect(result.error!.message).toContain("no-such-program");
    expect(await (await fetch(url)).text()).toBe("three");
  });

  it("ends a Dockerfile's error with the failing step and its last lines", async () => {
    await source.write("Dockerfile", "FROM busybox\nRUN echo the-last-words && exit 7\n");
    const { code, stderr, result } = await deploy();
    expect(code, stderr).toBe(3);
    expect(result.error).toMatchObject({ code: "BUILD_FAILED", stage: "build", serving: servingThree });
    expect(stderr).toContain(`\nServing: ${servingThree}\n`);
    expect(result.error!.message).toContain("RUN echo the-last-words");
    expect(result.error!.log_tail).toContain("the-last-words");
    expect(await (await fetch(url)).text()).toBe("three");
  });

  it("names file, key, found and expected of a wrong slipway.toml, before anything is started", async () => {
    await source.write("slipway.toml", 'app = "web"\n[http_service]\ninternal_port = "eighty"\n');
    const { code, stderr } = await run("deploy", source.dir);
    expect(code).toBe(2);
    expect(stderr).toContain("slipway.toml");
    expect(stderr).toContain("http_service.internal_port");
    expect(stderr).toContain("eighty");
    await source.write("slipway.toml", tinyConfig("web"));
  });

  it("refuses a platform that no machine here runs, and names those that do", async () => {
    const { code, stderr } = await deploy("--platform", "linux/s390x");
    expect(code, stderr).toBe(2);
    expect(stderr).toMatch(
      /Cannot build for platform "linux\/s390x": the machines of this host cannot run it, expected .*linux\/(amd64|arm64)/,
    );
  });

  it("builds with directories and images that stand for names in the Dockerfile", async () => {
    const dockerfile = [
      "FROM busybox AS check",
      "RUN --mount=from=pages,target=/pages test ! -e /pages/unwanted && cp /pages/index.html /page",
      "FROM nothing-of-this-name AS tools",
      "FROM scratch",
      "COPY --from=tools /bin/busybox /bin/busybox",
      "COPY --from=check /page /www/index.html",
      'ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]',
      "",
    ].join("\n");
    await using app = await tinyApp("contexts", "not this one", { Dockerfile: dockerfile });
    await using pages = await sourceDir({ "index.html": "of a context", ".dockerignore": "unwanted\n", unwanted: "" });
    const options = ["--build-context", `pages=${pages.dir}`, "--build-context", "tools=docker-image://busybox"];
    const { code, stderr } = await run("deploy", app.dir, ...options);
    expect(code, stderr).toBe(0);
    expect(await (await fetch(await urlOf(stack, "contexts"))).text()).toBe("of a context");
  });

  it("takes another Dockerfile, another ignore file and the stage that is named", async () => {
    const dockerfile = [
      "FROM busybox AS seen",
      "COPY . /seen",
      "RUN --mount=type=cache,target=/kept <<CHECK",
      "set -e",
      "test -e /seen/wanted && test ! -e /seen/unwanted",
      "echo checked > /kept/it && cp /kept/it /checked",
      "CHECK",
      "FROM busybox AS run",
      "COPY --from=seen /checked /www/index.html",
      'CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]',
      "FROM nothing-of-this-name",
      "",
    ].join("\n");
    await using app = await sourceDir({
      "slipway.toml": tinyConfig("chosen"),
      "deploy/run.Dockerfile": dockerfile,
      "deploy/ignored": "unwanted\n",
      ".dockerignore": "wanted\n",
      wanted: "",
      unwanted: "",
    });
    const options = ["--dockerfile", "deploy/run.Dockerfile", "--ignorefile", "deploy/ignored", "--build-target", "run"];
    const { code, stderr } = await run("deploy", app.dir, ...options);
    expect(code, stderr).toBe(0);
    expect(await (await fetch(await urlOf(stack, "chosen"))).text()).toBe("checked\n");
  });

  it("deploys a folder of a git repository, with another repository in the place of a stage", async () => {
    await using server = await openGitServer();
    await using app = await tinyApp("cloned", "not this one");
    const read = (file: string) => readFile(path.join(app.dir, file), "utf8");
    const dockerfile = (await read("Dockerfile")).replace("COPY index", "COPY --from=pages index");
    const commit = await server.commit("app", { "apps/web/Dockerfile": dockerfile, "apps/web/slipway.toml": await read("slipway.toml") });
    await server.commit("pages", { "index.html": "of a repository" });
    const { code, stderr } = await run("deploy", `${server.url}/app.git#main:apps/web`, "--build-context", `pages=${server.url}/pages.git`);
    expect(code, stderr).toBe(0);
    expect(await (await fetch(await urlOf(stack, "cloned"))).text()).toBe("of a repository");
    // Temporal lists what has just begun a moment later
    await eventually(async () => {
      const { runs } = JSON.parse((await run("runs", "list", "-a", "cloned", "-o", "json")).stdout) as { runs: object[] };
      expect(runs).toMatchObject([{ commit: { sha: commit, dirty: false } }]);
    });
    const wrong = await run("deploy", `${server.url}/app.git#nowhere`);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain('Cannot find "nowhere" in');
  });

  it("ends with exit code 10 when Temporal cannot be reached", async () => {
    const { code, stderr } = await slipway(stack.dataDir, ["deploy", source.dir], { env: { TEMPORAL_ADDRESS: "127.0.0.1:1" } });
    expect(code, stderr).toBe(10);
    expect(stderr).toContain("slipway up");
  });

  it("answers a key that was deployed with the same result, and refuses it for another source", async () => {
    await using other = await tinyApp("keyed", "key");
    const once = () => slipway(stack.dataDir, ["deploy", other.dir, "-o", "json", "--idempotency-key", "ci-1"]);
    const first = await once();
    expect(first.code, first.stderr).toBe(0);
    const again = await once();
    expect(again.code, again.stderr).toBe(0);
    expect(JSON.parse(again.stdout)).toMatchObject({ changed: false, release: { version: 1 } });
    await other.write("index.html", "something else");
    const refused = await once();
    expect(refused.code, refused.stderr).toBe(2);
    expect(refused.stderr).toContain("ci-1");
  });

  it("cancels a build, of which no process is left in the builder, and leaves the old release serving", async () => {
    await using slow = await tinyApp("slow", "slow");
    await slow.write("Dockerfile", "FROM busybox\nRUN sleep 120\n");
    const deploying = startSlipway(stack.dataDir, ["deploy", slow.dir, "--idempotency-key", "slow-1"]);
    await eventually(async () => expect(await buildersPrograms()).toContain("sleep"));
    const cancelled = await run("cancel", "slow-1", "-a", "slow");
    expect(cancelled.code, cancelled.stderr).toBe(0);
    const { code, stderr } = await deploying.finished;
    expect(code, stderr).toBe(9);
    expect(stderr).toContain("\nServing: nothing: this app has no earlier release\n");
    await eventually(async () => expect(await buildersPrograms()).toEqual(["buildkitd"]));
    // its log is over as well
    expect((await run("runs", "logs", "slow-1", "-a", "slow", "-f")).stdout).toContain("RUN sleep 120");
  });

  it("ends `runs logs -f` with the run, also where the build was lost before it could end its log", async () => {
    await using slow = await tinyApp("slow", "slow");
    await slow.write("Dockerfile", "FROM busybox\nRUN echo begun && sleep 130\n");
    const deploying = startSlipway(stack.dataDir, ["deploy", slow.dir, "--idempotency-key", "slow-2"]);
    await eventually(async () => expect(await buildersPrograms()).toContain("sleep"));
    const following = startSlipway(stack.dataDir, ["runs", "logs", "slow-2", "-a", "slow", "-f"]);
    const terminated = await run("cancel", "--force", "slow-2", "-a", "slow");
    expect(terminated.code, terminated.stderr).toBe(0);
    expect(await deploying.finished).toMatchObject({ code: 9 });
    const { code, stdout } = await following.finished;
    expect(code).toBe(0);
    expect(stdout).toContain("begun");
    await eventually(async () => expect(await buildersPrograms()).toEqual(["buildkitd"]));
  });

  it("goes on when its client is interrupted, and can be watched again", async () => {
    await using app = await tinyApp("detached", "detached");
    await app.write(
      "Dockerfile",
      `FROM busybox AS tools\nRUN sleep 3\nFROM scratch\nCOPY --from=tools /bin/busybox /bin/busybox\nCOPY index.html /www/index.html\nENTRYPOINT ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]\n`,
    );
    const deploying = startSlipway(stack.dataDir, ["deploy", app.dir, "--idempotency-key", "detached-1"]);
    await eventually(() => expect(deploying.stderr()).toContain("RUN sleep 3"));
    deploying.kill("SIGINT");
    const interrupted = await deploying.finished;
    expect(interrupted.code, interrupted.stderr).toBe(130);
    expect(interrupted.stderr).toContain("slipway watch");
    const watched = await run("watch", "detached-1", "-a", "detached");
    expect(watched.code, watched.stderr).toBe(0);
    expect(watched.stdout).toMatch(/^detached v1 sha256:/);
  });

  it("leaves nothing of failed and cancelled runs behind on the host", async () => {
    await eventually(
      async () => expect(await leftoversOf(stack.settings, "default")).toEqual({ machines: [], leases: [], ingests: [], snapshots: [] }),
      60_000,
    );
  });
});

/** Of each process in the builder's cgroup and beneath it, build steps' among them. */
async function buildersPrograms(): Promise<readonly string[]> {
  const pids = await cgroupPids(machineCgroup(stack.settings.instance, "default", builderMachineId));
  return pids.map((pid) => readFileSync(`/proc/${pid}/comm`, "utf8").trim());
}
