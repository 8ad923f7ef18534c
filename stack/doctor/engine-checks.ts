import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import type { Settings } from "../../config/settings.ts";
import { leastContainerdVersion } from "../containerd-version.ts";
import { check, type CheckRun, requireVersion } from "./check.ts";

const run = promisify(execFile);
const logs = "slipway up; then look into <data>/logs/processes";

/** The engines that Slipway stands on. Their clients are loaded only here: `slipway --help` must not pay for them. */
export function engineChecks(settings: Settings): CheckRun[] {
  return [
    check("runc", "slipway up (builds the pinned one)", async (signal) => {
      const { stdout } = await run(path.join(settings.tools.binDir, "runc"), ["--version"], { signal });
      return requireVersion(/^runc version (\S+)/.exec(stdout)?.[1] ?? "of unknown version", "1.5.2");
    }),
    check("containerd", logs, async (signal) => await containerdVersion(settings, signal)),
    check("containerd content sharing", 'set content_sharing_policy = "isolated" and start containerd again', async (signal) => {
      const [{ openContainerd }, { requireIsolatedContent }] = await Promise.all([
        import("../../containerd/client.ts"),
        import("../../containerd/policy.ts"),
      ]);
      await using containerd = openContainerd(settings.containerd.socket);
      await requireIsolatedContent(containerd, signal);
      return "isolated";
    }),
    check("container runtimes", 'install the shim on containerd\'s PATH, or correct "runtime" in the settings', async (signal) => {
      const [{ openContainerd }, { requireRuntimes, runtimeOf }] = await Promise.all([
        import("../../containerd/client.ts"),
        import("../../machines/runtime.ts"),
      ]);
      await using containerd = openContainerd(settings.containerd.socket);
      await requireRuntimes(containerd, settings, signal);
      return `machines ${runtimeOf(settings, { isolation: "sandboxed" })}, builders ${runtimeOf(settings, { isolation: "privileged" })}`;
    }),
    check("Temporal", logs, async (signal) => await temporalVersion(settings, signal)),
    check("Temporal search attributes", "slipway up", async (signal) => await searchAttributes(settings, signal)),
    check("S3 bucket", logs, async (signal) => await requireBucket(settings, signal)),
  ];
}

async function containerdVersion(settings: Settings, signal: AbortSignal): Promise<string> {
  const ctr = path.join(settings.tools.binDir, "ctr");
  const { stdout } = await run(ctr, ["--address", settings.containerd.socket, "--connect-timeout", "3s", "version"], { signal });
  const server = /^Server:\s+Version:\s+(\S+)/m.exec(stdout)?.[1];
  if (server === undefined) throw new Error(`does not answer at "${settings.containerd.socket}"`);
  return requireVersion(server, leastContainerdVersion);
}

async function temporalVersion(settings: Settings, signal: AbortSignal): Promise<string> {
  const { openTemporal } = await import("../temporal/connect.ts");
  await using temporal = await openTemporal(settings);
  const { connection, address, namespace } = temporal;
  return await connection.withAbortSignal(signal, async () => {
    const { serverVersion } = await connection.workflowService.getSystemInfo({});
    await connection.workflowService.describeNamespace({ namespace });
    return `server ${serverVersion} at ${address}, namespace "${namespace}"`;
  });
}

async function searchAttributes(settings: Settings, signal: AbortSignal): Promise<string> {
  const [{ openTemporal }, { requireSearchAttributes }] = await Promise.all([
    import("../temporal/connect.ts"),
    import("../temporal/search-attributes.ts"),
  ]);
  await using temporal = await openTemporal(settings);
  return await requireSearchAttributes(temporal, signal);
}

async function requireBucket({ s3 }: Settings, signal: AbortSignal): Promise<string> {
  const { HeadBucketCommand, S3Client } = await import("@aws-sdk/client-s3");
  const { endpoint, region, accessKeyId, secretAccessKey, forcePathStyle } = s3;
  const client = new S3Client({ endpoint, region, credentials: { accessKeyId, secretAccessKey }, forcePathStyle, maxAttempts: 1 });
  try {
    await client.send(new HeadBucketCommand({ Bucket: s3.bucket }), { abortSignal: signal });
    return `"${s3.bucket}" at ${endpoint}`;
  } catch (cause) {
    throw new Error(`cannot reach bucket "${s3.bucket}" at ${endpoint}: ${(cause as Error).name}`, { cause });
  } finally {
    client.destroy();
  }
}
