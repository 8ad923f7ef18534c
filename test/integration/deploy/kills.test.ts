import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { orgNamespace } from "../../../config/paths.ts";
import { openContainerd } from "../../../containerd/client.ts";
import { urlOf } from "../../support/app-url.ts";
import { type SourceDir, tinyApp, tinyConfig } from "../../support/apps.ts";
import { eventually } from "../../support/eventually.ts";
import { leftoversOf } from "../../support/leftovers.ts";
import { probe } from "../../support/probe.ts";
import { type RunningCli, slipway, startSlipway } from "../../support/slipway.ts";
import { type TestStack, startTestStack } from "../../support/stack.ts";

let stack: TestStack;
let source: SourceDir;
let version = 0;

beforeAll(async () => {
  stack = await startTestStack();
  const bases = await slipway(stack.dataDir, ["image", "bases", "busybox"]);
  expect(bases.code, bases.stderr).toBe(0);
  source = await tinyApp("web", "v0");
  await endsWell(await startDeploy());
});

afterAll(async () => {
  await source?.[Symbol.asyncDispose]();
  await stack?.stop();
});

/** Every process of a host but the router, which takes requests and no part in a build. */
const inBuild = ["s3", "temporal", "containerd", "registry", "mirror", "control", "host", "supervisor"] as const;
const inRollout = ["temporal", "containerd", "mirror", "router", "control", "host"] as const;

describe("a deploy ends live, and the release before it serves until then, when in the middle of", () => {
  it.each(inBuild)("the build %s is killed", async (name) => {
    await using requests = probe(await urlOf(stack, "web"));
    const deploying = await startDeploy();
    await eventually(() => expect(deploying.stderr()).toContain("RUN sleep 2"));
    stack.kill(name);
    // nobody watches over the supervisor: that is the operator's `slipway up`
    if (name === "supervisor") await stack.up();
    await endsWell(deploying);
    expect((await requests.stop()).failures).toEqual([]);
  });

  it("the build the builder is killed", async () => {
    const deploying = await startDeploy();
    await eventually(() => expect(deploying.stderr()).toContain("RUN sleep 2"));
    process.kill(await pidOf("builder"), "SIGKILL");
    await endsWell(deploying);
    const { stdout } = await slipway(stack.dataDir, ["runs", "logs", "-a", "web"]);
    const attempts = stdout.split(/^--> build attempt 2$/m);
    expect(attempts, stdout).toHaveLength(2);
    expect(attempts[0]).toMatch(/RUN sleep 2[^]*^--> build attempt 1 broke off: Lost the builder: /m);
    expect(attempts[1]).toMatch(/RUN sleep 2[^]*DONE/);
  });

  it("the build the client is killed", async () => {
    const key = `killed-client-${version}`;
    const deploying = await startDeploy("--idempotency-key", key);
    await eventually(() => expect(deploying.stderr()).toContain("RUN sleep 2"));
    // the launcher has a child on another Node: both go, as when a CI job is killed
    for (const pid of [...childrenOf(deploying.pid), deploying.pid]) process.kill(pid, "SIGKILL");
    await deploying.finished;
    await endsWell(startSlipway(stack.dataDir, ["watch", key, "-a", "web", "-o", "json"]));
  });

  it.each(inRollout)("the roll-out %s is killed", async (name) => {
    await using requests = probe(await urlOf(stack, "web"));
    const deploying = await startDeploy();
    await eventually(() => expect(deploying.stderr()).toContain("Rolling out"));
    stack.kill(name);
    await endsWell(deploying);
    // requests pass through the router alone: while it restarts, they are refused
    if (name !== "router") expect((await requests.stop()).failures).toEqual([]);
  });

  it("the upload the registry is killed", async () => {
    // random bytes: nothing of them is there already
    await source.write(
      "big.bin",
      Buffer.from(crypto.getRandomValues(new Uint8Array(65536)))
        .toString("hex")
        .repeat(200),
    );
    const deploying = await startDeploy();
    await sleep(400);
    stack.kill("registry");
    await endsWell(deploying);
    await source.write("big.bin", "small");
  });
});

it("after all those kills nothing but the last release is left on the host", async () => {
  await eventually(
    async () => expect(await leftoversOf(stack.settings, "default")).toEqual({ machines: [], leases: [], ingests: [], snapshots: [] }),
    60_000,
  );
});

/** A build that takes two seconds and a check that takes one, so that there is a middle to be killed in. */
async function startDeploy(...args: string[]): Promise<RunningCli> {
  version++;
  await source.write("index.html", `v${version}`);
  await source.write(
    "Dockerfile",
    [
      "FROM busybox AS tools",
      `RUN sleep 2 && echo ${version}`,
      "FROM scratch",
      "COPY --from=tools /bin /bin",
      "COPY index.html /www/index.html",
      `ENTRYPOINT ["/bin/sh", "-c", "sleep 1; exec /bin/busybox httpd -f -p 8080 -h /www"]`,
      "",
    ].join("\n"),
  );
  await source.write("slipway.toml", tinyConfig("web", "/index.html", "60s"));
  return startSlipway(stack.dataDir, ["deploy", source.dir, "-o", "json", ...args]);
}

async function endsWell(deploying: RunningCli, expected = version): Promise<void> {
  const { code, stdout, stderr } = await deploying.finished;
  expect(code, stderr).toBe(0);
  const result = JSON.parse(stdout) as { status: string; image: { digest: string } };
  expect(result.status).toBe("live");
  await eventually(async () => expect(await servedBody()).toBe(`v${expected}`));
}

async function servedBody(): Promise<string> {
  return (await fetch(await urlOf(stack, "web"), { signal: AbortSignal.timeout(2000) })).text();
}

async function pidOf(machineId: string): Promise<number> {
  await using containerd = openContainerd(stack.settings.containerd.socket);
  const { process: task } = await containerd.namespace(orgNamespace("default")).tasks.get({ containerId: machineId });
  return task!.pid;
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
}
