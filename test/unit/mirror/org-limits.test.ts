import { expect, it } from "vitest";
import { deferred } from "../../../config/deferred.ts";
import { createBodyTurns } from "../../../mirror/limits/body-turns.ts";
import { createConnectionCounts } from "../../../mirror/limits/connection-counts.ts";
import { createOpenUploads } from "../../../mirror/limits/open-uploads.ts";
import { createOrgLimits } from "../../../mirror/limits/org-limits.ts";

it("keeps no turn for an upload that ended while it waited to hear that the disk has room", async () => {
  const looked = deferred<void>();
  const turns = createBodyTurns({ most: 1 });
  const { intake } = createOrgLimits({
    org: "acme",
    connections: createConnectionCounts({ orgConnections: 1, clientConnections: 1 }),
    uploads: createOpenUploads({ perOrg: 1, all: 1 }),
    turns,
    space: { require: () => looked.promise },
  });
  const ending = new AbortController();
  const upload = await intake.open(ending.signal);
  let written = 0;
  const passing = upload.pass(8 * 1024 * 1024, () => void (written += 1), ending.signal);
  ending.abort(new Error("ended"));
  upload[Symbol.dispose]();
  looked.resolve();
  await expect(passing).rejects.toThrow("ended");
  expect(written).toBe(0);
  // the only turn is free: another passes at once
  expect(turns.of("other").pass(1, () => undefined, new AbortController().signal)).toBeUndefined();
});
