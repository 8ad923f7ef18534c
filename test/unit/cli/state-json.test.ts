import { describe, expect, test } from "vitest";
import { appJson } from "../../../cli/render/app-json.ts";
import { machineJson } from "../../../cli/render/machine-json.ts";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { parseAppConfig } from "../../../config/app-config.ts";
import type { AppState, TurnRequest } from "../../../workflows/types.ts";
import { digest, liveView } from "./views.ts";

const turn = (key: string): TurnRequest => ({ workflowId: `deploy/default/web/${key}`, runId: "r", key, requestedAtMs: 0, host: "one" });
const repository = parseRepository("default/web");
const state: AppState = {
  nextVersion: 5,
  current: {
    release: {
      org: "default",
      app: "web",
      version: 3,
      key: "k1",
      runId: "r",
      image: { name: "registry/default/web", digest },
      source: { repository, digest: digestOf("source"), sizeBytes: 1 },
      config: parseAppConfig('app = "web"\n[env]\nTOKEN = "kept to itself"', "slipway.toml").config,
      commit: { sha: "a".repeat(40), dirty: true },
      createdAtMs: 1000,
    },
    machines: liveView.machines,
    url: "http://127.0.0.1:8080",
  },
  holder: { ...turn("k2"), version: 4 },
  waiting: [turn("k3")],
  currentRequestedAtMs: 0,
  history: [{ version: 3, workflowId: "deploy/default/web/k1", status: "live", atMs: 2000 }],
};

describe("the JSON of an app", () => {
  test("is the documented shape and nothing of the workflow's own state", () => {
    const replication = { org: "default", repository, digest, status: "durable", attempts: 1, sentBytes: 5 } as const;
    expect(appJson("default", "web", state, replication)).toEqual({
      org: "default",
      app: "web",
      url: "http://127.0.0.1:8080",
      release: {
        version: 3,
        image_digest: digest,
        created_at: "1970-01-01T00:00:01.000Z",
        commit: { sha: "a".repeat(40), dirty: true },
      },
      machines: [
        {
          id: "web-app-0-v3",
          host: "one",
          group: "app",
          state: "running",
          healthy: true,
          address: "10.64.0.7",
          image_digest: digest,
        },
      ],
      turn: {
        holder: { workflow_id: "deploy/default/web/k2", requested_at: "1970-01-01T00:00:00.000Z", version: 4 },
        waiting: [{ workflow_id: "deploy/default/web/k3", requested_at: "1970-01-01T00:00:00.000Z" }],
      },
      history: [{ version: 3, workflow_id: "deploy/default/web/k1", status: "live", at: "1970-01-01T00:00:02.000Z" }],
      replication: { status: "durable", attempts: 1, sent_bytes: 5 },
    });
  });

  test("leaves out what is not known", () => {
    expect(appJson("default", "web", { nextVersion: 1, waiting: [], history: [] }, undefined)).toEqual({
      org: "default",
      app: "web",
      machines: [],
      turn: { waiting: [] },
      history: [],
    });
    const { address: _address, ...machine } = liveView.machines[0]!;
    expect(machineJson(machine)).not.toHaveProperty("address");
  });
});
