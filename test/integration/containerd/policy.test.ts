import { describe, expect, inject, it } from "vitest";
import { openContainerd } from "../../../containerd/client.ts";
import { SharedContentError, requireIsolatedContent } from "../../../containerd/policy.ts";
import { startContainerd } from "../../support/own-containerd.ts";

const probes = async (socket: string): Promise<string[]> => {
  await using containerd = openContainerd(socket);
  const { namespaces } = await containerd.namespaces.list({}, { signal: AbortSignal.timeout(10_000) });
  return namespaces.map(({ name }) => name).filter((name) => name.startsWith("slipway-probe"));
};

describe("requireIsolatedContent", () => {
  const signal = AbortSignal.timeout(60_000);

  it("accepts a containerd that keeps namespaces apart, and leaves nothing there", async () => {
    await using containerd = openContainerd(inject("containerdSocket"));
    await requireIsolatedContent(containerd, signal);
    expect(await probes(containerd.socket)).toEqual([]);
  });

  it("refuses one that shares content by digest, names the setting, and leaves nothing there", async () => {
    await using daemon = await startContainerd({ sharing: "shared" });
    await using containerd = openContainerd(daemon.socket);
    const refusal = requireIsolatedContent(containerd, signal);
    await expect(refusal).rejects.toThrow(SharedContentError);
    await expect(refusal).rejects.toThrow(/content_sharing_policy = "isolated"/);
    expect(await probes(daemon.socket)).toEqual([]);
  });
});
