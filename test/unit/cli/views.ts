import { digestOf } from "../../../oci/digest.ts";
import type { DeployResult, RunView } from "../../../workflows/types.ts";

export const digest = digestOf("image");

export const runningView: RunView = {
  workflowId: "deploy/default/web/k1",
  runId: "0198",
  org: "default",
  app: "web",
  key: "k1",
  status: "building",
  steps: [
    { name: "wake", status: "done", startedAtMs: 1000, durationMs: 230, note: "from stopped" },
    { name: "build", status: "running", startedAtMs: 1230 },
    { name: "verify", status: "pending" },
    { name: "rollout", status: "pending" },
  ],
  startedAtMs: 1000,
  machines: [],
};

export const liveView: DeployResult = {
  ...runningView,
  status: "live",
  steps: [
    { name: "wake", status: "done", startedAtMs: 1000, durationMs: 230 },
    { name: "build", status: "done", startedAtMs: 1230, durationMs: 61_000 },
    { name: "verify", status: "done", startedAtMs: 62_230, durationMs: 12 },
    { name: "rollout", status: "done", startedAtMs: 62_250, durationMs: 400 },
  ],
  image: { name: "registry.slipway.internal:5000/default/web", digest, sizeBytes: 3_000_000 },
  version: 3,
  previousVersion: 2,
  machines: [{ id: "web-app-0-v3", host: "one", group: "app", ordinal: 0, digest, state: "running", healthy: true, address: "10.64.0.7" }],
  url: "http://127.0.0.1:8080",
  replicationWorkflowId: "replicate/default/web/x",
  changed: true,
};

export const failedView: RunView = {
  ...runningView,
  status: "failed",
  error: {
    code: "DEPLOY_UNHEALTHY",
    stage: "rollout",
    message: "Machine web-app-0-v3 does not pass GET /",
    retryable: false,
    logTail: Array.from({ length: 25 }, (_, at) => `line ${at}\u001b[31m\u0007`),
    serving: "v2 serves as before",
  },
};
