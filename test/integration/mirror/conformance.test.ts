import { inject } from "vitest";
import { orgNamespace } from "../../../config/paths.ts";
import { createContainerdStore } from "../../../mirror/store/containerd-store.ts";
import { describeDistributionStore } from "../../conformance/distribution-store.ts";
import { isOldContainerd } from "../../support/containerd-release.ts";
import { imageHost } from "../../support/mirror-harness.ts";
import { openScratchNamespace } from "../../support/scratch-namespace.ts";

// memory is this process's matter, not the daemon's: measured once
const isOld = isOldContainerd(inject("containerdRelease"));
const traits = { hasSha512: !isOld, isMemoryMeasured: !isOld };

describeDistributionStore(
  "containerd",
  async () => {
    const org = "conformance";
    const scratch = await openScratchNamespace(inject("containerdSocket"), orgNamespace(org));
    const { containerd } = scratch;
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const store = createContainerdStore({ containerd, org, imageHost, snapshotter: "overlayfs", log });
    return {
      store,
      async close() {
        await store[Symbol.asyncDispose]();
        await scratch[Symbol.asyncDispose]();
      },
    };
  },
  traits,
);
