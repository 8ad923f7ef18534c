import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { within } from "../../../registry/manifests/deadline.ts";

describe("within", () => {
  const untilAborted = async (signal: AbortSignal): Promise<never> => {
    await once(signal, "abort");
    throw signal.reason;
  };

  it("gives the answer of what ends in time", async () => {
    await expect(within(60_000, undefined, async () => "done")).resolves.toBe("done");
  });

  it("ends what takes longer, as an outage that is worth another try", async () => {
    await expect(within(20, undefined, untilAborted)).rejects.toMatchObject({ code: "UNAVAILABLE", status: 503 });
  });

  it("ends with the client that asked, by its reason", async () => {
    const gone = new AbortController();
    const ended = within(60_000, gone.signal, untilAborted);
    gone.abort(new Error("the client is gone"));
    await expect(ended).rejects.toThrow("the client is gone");
  });
});
