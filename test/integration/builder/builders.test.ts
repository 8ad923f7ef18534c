import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { BuildEvent } from "../../../builder/buildkit/progress.ts";
import { type SolveOutput, solve } from "../../../builder/buildkit/solve.ts";
import { type Builders, type WakePhase, createBuilders } from "../../../builder/builders.ts";
import { instancePaths } from "../../../config/paths.ts";
import type { Settings } from "../../../config/settings.ts";
import { writeFileAtomic } from "../../../config/write-file-atomic.ts";
import { type MachineLab, openMachineLab } from "../machines/support/lab.ts";
import { type StandIn, openStandIn, tarOf } from "./stand-in.ts";

const signal = AbortSignal.timeout(240_000);
const hostBundle = "/etc/ssl/certs/ca-certificates.crt";

const dockerfile = `FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "ln", "-s", "busybox", "/bin/sh"]
RUN /bin/busybox grep -c nameserver /etc/resolv.conf
RUN /bin/busybox head -n 1 "$SSL_CERT_FILE" && /bin/busybox echo "$NODE_EXTRA_CA_CERTS"
RUN /bin/busybox grep "of the mirror" "$SSL_CERT_FILE"
`;

describe("an org's builder as a machine", () => {
  let lab: MachineLab;
  let settings: Settings;
  let builders: Builders;
  let mirror: StandIn;
  let org: string;

  beforeAll(async () => {
    lab = await openMachineLab({
      containerdSocket: inject("containerdSocket"),
      toolsBinDir: inject("toolsBinDir"),
      toolsShareDir: inject("toolsShareDir"),
    });
    org = lab.orgs[0];
    settings = { ...lab.settings, caBundle: hostBundle };
    await writeFileAtomic(instancePaths.mirrorCa(settings), "# CA of the mirror\n");
    builders = createBuilders({ ...lab, settings });
    const network = await lab.machines.ensureNetwork(org, signal);
    mirror = await openStandIn(network.gatewayIpv4, settings.mirror.port);
  });

  afterAll(async () => {
    await builders?.[Symbol.asyncDispose]();
    await mirror?.[Symbol.asyncDispose]();
    if (org !== undefined) await lab.machines.remove(org, "builder", { signal: "SIGKILL", timeoutMs: 0 }, signal);
    await lab?.[Symbol.asyncDispose]();
  });

  async function build(address: string): Promise<SolveOutput & { lines: string[] }> {
    const lines: string[] = [];
    const onEvent = (event: BuildEvent) => void (event.type === "log" && lines.push(event.line));
    const path = mirror.addSource(await tarOf({ Dockerfile: dockerfile, busybox: readFileSync("/bin/busybox") }));
    const output = await solve(
      {
        address,
        contextUrl: `http://_api.internal:${settings.mirror.port}${path}`,
        dockerfile: "Dockerfile",
        buildArgs: {},
        labels: {},
        noCache: false,
        imageName: `${settings.registry.imageHost}/${org}/web:1`,
      },
      { signal, onEvent },
    );
    return { ...output, lines };
  }

  const pid = async () => (await lab.machines.inspect(org, "builder", signal))?.pid;

  it("is made on the first wake, phase by phase, and one of it by two wakes at once", async () => {
    expect(await builders.status(org, signal)).toEqual({ state: "absent", uses: 0 });
    const phases: WakePhase[] = [];
    const [first, second] = await Promise.all([
      builders.wake(org, { signal, onPhase: (phase) => phases.push(phase) }),
      builders.wake(org, { signal }),
    ]);
    expect(phases).toEqual(["starting", "listening", "ready"]);
    expect([first.wokenFrom, second.wokenFrom]).toEqual(["absent", "running"]);
    expect(first.address).toBe(second.address);
    expect(await lab.machines.list({ org }, signal)).toHaveLength(1);
  });

  it("fetches from and pushes to the mirror by its names, and gives steps the name server and the CAs", async () => {
    await using builder = await builders.acquire(org, { signal });
    const { lines, exporterDigest } = await build(builder.address);
    const firstCa = readFileSync(hostBundle, "utf8").split("\n")[0];
    expect(lines).toEqual([expect.stringMatching(/^[1-9]/), firstCa, "/dev/slipway-ca.crt", "# CA of the mirror"]);
    expect(mirror.pushed.has("1")).toBe(true);
    const manifest = mirror.pushed.get("1")!.toString();
    expect(manifest).not.toContain("slipway-ca");
    expect(exporterDigest).toMatch(/^sha256:/);
  });

  it("leaves no trace of the CAs in the image", async () => {
    const { layers, config } = JSON.parse(mirror.pushed.get("1")!.toString()) as { layers: { size: number }[]; config: { digest: string } };
    // the last three steps wrote nothing
    for (const layer of layers.slice(2)) expect(layer.size).toBeLessThan(200);
    expect(mirror.pushed.get(config.digest)!.toString()).not.toMatch(/SSL_CERT_FILE=|slipway-ca/);
  });

  it("sleeps only when nobody uses it, and wakes with its cache", async () => {
    const builder = await builders.acquire(org, { signal });
    expect(await builders.sleep(org, signal)).toBe(false);
    await builder[Symbol.asyncDispose]();
    expect(await builders.sleep(org, signal)).toBe(true);
    expect(await builders.status(org, signal)).toEqual({ state: "asleep", uses: 0 });
    const woken = await builders.wake(org, { signal });
    expect(woken.wokenFrom).toBe("stopped");
    expect(await build(woken.address)).toMatchObject({ steps: 5, cachedSteps: 5 });
  });

  it("is replaced when it was killed or does not answer, and its cache is kept", async () => {
    process.kill((await pid())!, "SIGKILL");
    await expect.poll(async () => (await builders.status(org, signal)).state).toBe("asleep");
    const woken = await builders.wake(org, { signal });
    expect(await build(woken.address)).toMatchObject({ cachedSteps: 5 });

    const frozen = (await pid())!;
    process.kill(frozen, "SIGSTOP");
    const again = await builders.wake(org, { signal });
    expect(await pid()).not.toBe(frozen);
    expect(await build(again.address)).toMatchObject({ cachedSteps: 5 });
  });

  it("is replaced when its image has changed", async () => {
    const before = await lab.machines.inspect(org, "builder", signal);
    await using changed = createBuilders({ ...lab, settings: { ...settings, builder: { ...settings.builder, cpus: 2 } } });
    const woken = await changed.wake(org, { signal });
    const after = await lab.machines.inspect(org, "builder", signal);
    expect(after?.digest).not.toBe(before?.digest);
    expect(await build(woken.address)).toMatchObject({ cachedSteps: 5 });
  });

  it("falls asleep by itself after the idle time-out, though not while it is used, nor when another process woke it", async () => {
    await using brief = createBuilders({ ...lab, settings: { ...settings, builder: { ...settings.builder, idleTimeoutMs: 200 } } });
    const builder = await brief.acquire(org, { signal });
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(await brief.status(org, signal)).toEqual({ state: "awake", uses: 1 });
    await builder[Symbol.asyncDispose]();
    await expect.poll(async () => (await brief.status(org, signal)).state, { timeout: 20_000 }).toBe("asleep");
    await builders.wake(org, { signal });
    await brief.adopt(signal);
    await expect.poll(async () => (await brief.status(org, signal)).state, { timeout: 20_000 }).toBe("asleep");
  });
});
