import { randomBytes, randomUUID } from "node:crypto";
import { stat } from "node:fs/promises";
import { describe, expect, inject, it } from "vitest";
import { orgNamespace } from "../../../config/paths.ts";
import { listLeases } from "../../../containerd/leases.ts";
import { digestOf } from "../../../oci/digest.ts";
import { createDistributionClient } from "../../../oci/distribution-client.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { loopbackAddress, orgName, pushBlobs, pushImage, sourceOf } from "../../support/mirror-harness.ts";
import { createMirrorProcess } from "../../support/mirror-process.ts";
import { startContainerd } from "../../support/own-containerd.ts";
import { openScratchNamespace } from "../../support/scratch-namespace.ts";
import { imageOf } from "../../support/test-image.ts";

const signal = AbortSignal.timeout(120_000);

describe("the process mirror", () => {
  it("listens where it is told, over IPv4 and IPv6, keeps its admin socket to itself and ends well", async () => {
    await using mirror = await createMirrorProcess();
    const org = orgName("process");
    await using _scratch = await openScratchNamespace(inject("containerdSocket"), orgNamespace(org));
    await mirror.start();
    const address = loopbackAddress();
    const state = await mirror.admin.putOrg(org, [address, "::1"], signal);
    expect(state.listeners).toEqual([
      { address, listening: true },
      { address: "::1", listening: true },
    ]);
    expect(await mirror.admin.listOrgs(signal)).toEqual([state]);
    expect(await mirror.admin.health(signal)).toEqual({ orgs: 1 });
    expect((await stat(mirror.settings.mirror.adminSocket)).mode & 0o777).toBe(0o600);

    const repository = parseRepository(`${org}/app`);
    const v6 = createDistributionClient({ baseUrl: `http://[::1]:${mirror.settings.mirror.port}` });
    const bytes = randomBytes(1000);
    await v6.pushBlob(repository, sourceOf(bytes, digestOf(bytes)), signal);
    const v4 = createDistributionClient({ baseUrl: `http://${address}:${mirror.settings.mirror.port}` });
    expect((await v4.statBlob(repository, digestOf(bytes), signal))?.size).toBe(1000);
    expect(await mirror.log()).toContain(`"org":"${org}"`);

    await mirror.admin.putOrg(org, ["::1"], signal);
    await expect(v4.ping(signal)).rejects.toMatchObject({ code: "CONNECT_FAILED" });
    expect(await mirror.stop("SIGTERM")).toBe(0);
  });

  it("refuses names and addresses that are none", async () => {
    await using mirror = await createMirrorProcess();
    await mirror.start();
    await expect(mirror.admin.putOrg("No Org", [], signal)).rejects.toMatchObject({ status: 400 });
    await expect(mirror.admin.putOrg("org", ["localhost"], signal)).rejects.toMatchObject({ status: 400 });
    expect(await mirror.admin.listOrgs(signal)).toEqual([]);
  });

  it("serves the same orgs again when it was killed in the middle of a push, and lets go of what that push held", async () => {
    await using mirror = await createMirrorProcess();
    const org = orgName("killed");
    await using scratch = await openScratchNamespace(inject("containerdSocket"), orgNamespace(org));
    await mirror.start();
    const address = loopbackAddress();
    await mirror.admin.putOrg(org, [address], signal);
    const repository = parseRepository(`${org}/app`);
    const baseUrl = `http://${address}:${mirror.settings.mirror.port}`;
    const image = await imageOf([{ a: randomUUID() }, { b: randomUUID() }]);
    await pushBlobs(createDistributionClient({ baseUrl }), repository, image);
    const upload = await fetch(`${baseUrl}/v2/${repository}/blobs/uploads/`, { method: "POST" });
    await fetch(new URL(upload.headers.get("location")!, baseUrl), { method: "PATCH", body: randomBytes(2 * 1024 * 1024) });
    // answered before containerd has all of it
    await expect.poll(async () => (await scratch.ns.content.listStatuses({}, { signal })).statuses, { timeout: 30_000 }).toHaveLength(1);

    await mirror.stop("SIGKILL");
    await mirror.start();
    await expect
      .poll(async () => (await mirror.admin.listOrgs(signal))[0]?.listeners, { timeout: 30_000 })
      .toEqual([{ address, listening: true }]);
    expect(await listLeases(scratch.ns, signal)).toEqual([]);
    expect((await scratch.ns.content.listStatuses({}, { signal })).statuses).toEqual([]);
    // the layers were unpacked for no image yet
    for await (const { info } of scratch.ns.snapshots.list({ snapshotter: "overlayfs" }, { signal })) expect(info).toEqual([]);
    await pushImage(createDistributionClient({ baseUrl }), repository, "v1", image);
    expect(await createDistributionClient({ baseUrl }).listTags(repository, signal)).toEqual(["v1"]);
  });

  it("aborts what is half-pushed when it is told to end", async () => {
    await using mirror = await createMirrorProcess();
    const org = orgName("ended");
    await using scratch = await openScratchNamespace(inject("containerdSocket"), orgNamespace(org));
    await mirror.start();
    const address = loopbackAddress();
    await mirror.admin.putOrg(org, [address], signal);
    const baseUrl = `http://${address}:${mirror.settings.mirror.port}`;
    const upload = await fetch(`${baseUrl}/v2/${org}/app/blobs/uploads/`, { method: "POST" });
    await fetch(new URL(upload.headers.get("location")!, baseUrl), { method: "PATCH", body: randomBytes(1024 * 1024) });
    expect(await mirror.stop("SIGTERM")).toBe(0);
    expect(await listLeases(scratch.ns, signal)).toEqual([]);
    expect((await scratch.ns.content.listStatuses({}, { signal })).statuses).toEqual([]);
  });

  it("waits for an address that does not exist yet", async () => {
    await using mirror = await createMirrorProcess();
    const org = orgName("early");
    await using _scratch = await openScratchNamespace(inject("containerdSocket"), orgNamespace(org));
    await mirror.start();
    // a documentation address, on no interface
    const never = mirror.admin.putOrg(org, ["192.0.2.77"], AbortSignal.timeout(1_000));
    await expect(never).rejects.toThrow();
    const [state] = await mirror.admin.listOrgs(signal);
    expect(state).toMatchObject({ org, listeners: [{ address: "192.0.2.77", listening: false }] });
    await mirror.stop("SIGKILL");
    await mirror.start();
    expect(await mirror.admin.listOrgs(signal)).toHaveLength(1);
    const address = loopbackAddress();
    expect((await mirror.admin.putOrg(org, [address], signal)).listeners).toEqual([{ address, listening: true }]);
  });

  it("does not serve over a containerd that shares content between namespaces", async () => {
    await using daemon = await startContainerd({ sharing: "shared" });
    await using mirror = await createMirrorProcess(daemon.socket);
    await expect(mirror.start()).rejects.toThrow(/content_sharing_policy/);
  });
});
