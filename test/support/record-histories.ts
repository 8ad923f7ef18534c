/**
 * `node test/support/record-histories.ts`: runs deploys that end in each way on a real private stack and writes what Temporal recorded
 * to test/histories/<workflow>-<what>.json. Run it when workflow code has changed on purpose; old files stay, as runs of that time may
 * still be open when a worker is upgraded.
 */
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Client, Connection } from "@temporalio/client";
import { historyToJSON } from "@temporalio/common/lib/proto-utils.js";
import { workflowIds } from "../../workflows/ids.ts";
import { tinyApp, tinyConfig } from "./apps.ts";
import { eventually } from "./eventually.ts";
import { slipway, startSlipway } from "./slipway.ts";
import { startTestStack } from "./stack.ts";

const histories = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../histories");
const slow = (seconds: number) =>
  `FROM busybox AS tools\nRUN sleep ${seconds}\nFROM scratch\nCOPY --from=tools /bin /bin\nCOPY index.html /www/index.html\n` +
  `ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]\n`;

await mkdir(histories, { recursive: true });
await using stack = await startTestStack();
await using connection = await Connection.connect({ address: stack.settings.temporal.address }).then((open) =>
  Object.assign(open, { [Symbol.asyncDispose]: () => open.close() }),
);
const client = new Client({ connection });
const org = stack.settings.defaultOrg;
const run = (dir: string, key: string) => slipway(stack.dataDir, ["deploy", dir, "--idempotency-key", key, "-q"]);
const save = async (name: string, workflowId: string, runId?: string) => {
  const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
  await writeFile(path.join(histories, `${name}.json`), historyToJSON(history));
  console.error(`${name}: ${history.events?.length} events`);
};
const saveDeploy = (name: string, app: string, key: string) => save(`deploy-${name}`, workflowIds.deploy(org, app, key));

await slipway(stack.dataDir, ["image", "bases", "busybox"]);
await using app = await tinyApp("web", "one");

await run(app.dir, "first");
await saveDeploy("first-release", "web", "first");

await app.write("index.html", "two");
await run(app.dir, "second");
await saveDeploy("next-release", "web", "second");

await app.write("slipway.toml", tinyConfig("web", "/missing", "2s"));
await run(app.dir, "unhealthy");
await saveDeploy("unhealthy", "web", "unhealthy");
await app.write("slipway.toml", tinyConfig("web"));

await app.write("Dockerfile", "FROM busybox\nRUN exit 7\n");
await run(app.dir, "build-failed");
await saveDeploy("build-failed", "web", "build-failed");

await app.write("Dockerfile", slow(60));
const cancelled = startSlipway(stack.dataDir, ["deploy", app.dir, "--idempotency-key", "cancelled"]);
await eventually(() => assertIncludes(cancelled.stderr(), "RUN sleep 60"));
await slipway(stack.dataDir, ["cancel", "cancelled", "-a", "web"]);
await cancelled.finished;
await saveDeploy("cancelled-in-build", "web", "cancelled");

await app.write("Dockerfile", slow(4));
const killed = startSlipway(stack.dataDir, ["deploy", app.dir, "--idempotency-key", "worker-killed"]);
await eventually(() => assertIncludes(killed.stderr(), "RUN sleep 4"));
stack.kill("host");
stack.kill("control");
await killed.finished;
await saveDeploy("workers-killed-in-build", "web", "worker-killed");

// the holder of the turn waits for a check that only passes late; two more ask meanwhile
await app.write(
  "Dockerfile",
  slow(1).replace('"/bin/busybox", "httpd", "-f"', '"/bin/sh", "-c", "sleep 8; exec /bin/busybox httpd -f $0 $@"'),
);
const holder = startSlipway(stack.dataDir, ["deploy", app.dir, "--idempotency-key", "holder"]);
await eventually(() => assertIncludes(holder.stderr(), "Rolling out"));
await app.write("Dockerfile", slow(1));
const superseded = startSlipway(stack.dataDir, ["deploy", app.dir, "--idempotency-key", "superseded"]);
await eventually(() => assertIncludes(superseded.stderr(), "Waiting for a turn"));
const newest = startSlipway(stack.dataDir, ["deploy", app.dir, "--idempotency-key", "newest"]);
await Promise.all([holder.finished, superseded.finished, newest.finished]);
await saveDeploy("superseded", "web", "superseded");
await saveDeploy("waited-for-its-turn", "web", "newest");

await save("app-many-turns", workflowIds.app(org, "web"));
for await (const { workflowId, runId } of client.workflow.list({
  query: 'WorkflowType="replicateImage" AND ExecutionStatus="Completed"',
})) {
  await save("replicate-image-durable", workflowId, runId);
  break;
}

await slipway(stack.dataDir, ["registry", "gc", "--wait"]);
await save("collect-garbage", workflowIds.collectGarbage(false));
await slipway(stack.dataDir, ["registry", "scrub"]);
await save("scrub-registry", workflowIds.scrubRegistry(undefined, false));
await slipway(stack.dataDir, ["image", "prune"]);
await save("prune-host", workflowIds.pruneHost(stack.settings.hostId, false));

function assertIncludes(text: string, part: string): void {
  if (!text.includes(part)) throw new Error(`"${part}" is not in: ${text}`);
}
