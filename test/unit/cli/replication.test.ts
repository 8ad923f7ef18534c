import { defaultPayloadConverter } from "@temporalio/common";
import { describe, expect, it } from "vitest";
import { asItStands } from "../../../cli/control-plane/replication.ts";
import type { ReplicationView } from "../../../workflows/types.ts";

const view = { org: "acme", repository: "acme/web", digest: `sha256:${"a".repeat(64)}`, status: "running", attempts: 1, sentBytes: 5 };

const standing = (status: string, ...heartbeat: unknown[]) => {
  const payloads = heartbeat.map((details) => defaultPayloadConverter.toPayload(details));
  const heartbeatDetails = heartbeat.length === 0 ? null : { payloads };
  const described = {
    status: { name: status },
    raw: { pendingActivities: [{ activityType: { name: "pushUpstream" }, heartbeatDetails }] },
  };
  return asItStands(view as ReplicationView, described as unknown as Parameters<typeof asItStands>[1]);
};

describe("a replication as it stands", () => {
  it("adds what the attempt that runs has sent", () => {
    expect(standing("RUNNING", { sentBytes: 3, totalBytes: 10 })).toMatchObject({ status: "running", sentBytes: 8, totalBytes: 10 });
  });

  it.each([["never beat"], ["said nothing when it beat", undefined], ["said null", null]])(
    "is seen when the attempt %s",
    (_name, ...said) => {
      expect(standing("RUNNING", ...said)).toMatchObject({ status: "running", sentBytes: 5 });
    },
  );

  it("has stopped when its workflow is over and the image is not durable", () => {
    expect(standing("TERMINATED")).toMatchObject({ status: "stopped" });
  });
});
