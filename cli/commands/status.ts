import { listApps, type AppEntry } from "../control-plane/apps.ts";
import { connectControlPlane, type ControlPlane } from "../control-plane/connect.ts";
import { queryReplication } from "../control-plane/replication.ts";
import { shortDigest } from "../../oci/digest.ts";
import { workflowIds } from "../../workflows/ids.ts";
import type { ReplicationView } from "../../workflows/types.ts";
import { requireSettings, type InstanceOptions } from "../instance.ts";
import { printList, type OutputFormat } from "../output.ts";
import { appJson } from "../render/app-json.ts";
import { replicationText } from "../render/end-lines.ts";
import { stateOf } from "../render/step-lines.ts";
import { ageOf } from "../render/table.ts";
import { appFilter, type AppOptions } from "./app-filter.ts";

export type StatusOptions = InstanceOptions & AppOptions & { readonly output: OutputFormat };

/** Release, machines, turn and replication of an app, or of all. */
export async function status(app: string | undefined, options: StatusOptions): Promise<number> {
  const settings = requireSettings(options);
  const filter = appFilter(settings, app === undefined ? options : { ...options, app });
  await using controlPlane = await connectControlPlane(settings);
  const apps = await listApps(controlPlane, filter.org, filter.app);
  const entries = await Promise.all(
    apps.map(async (entry) => ({ ...entry, replication: await replicationOfCurrent(controlPlane, entry) })),
  );
  printList(options.output, {
    name: "apps",
    items: entries,
    json: (entry) => appJson(filter.org, entry.app, entry.state, entry.replication),
    text: (all) =>
      all.length === 0
        ? ["No app is deployed. Try: slipway deploy"]
        : all.flatMap((entry) => [...appLines(entry, entry.replication, Date.now()), ""]).slice(0, -1),
  });
  return 0;
}

async function replicationOfCurrent(controlPlane: ControlPlane, { state }: AppEntry): Promise<ReplicationView | undefined> {
  if (state.current === undefined) return undefined;
  const { source, image } = state.current.release;
  return await queryReplication(controlPlane, workflowIds.replicateImage(source.repository, image.digest));
}

/** What is known of one app, line by line. */
export function appLines({ app, state }: AppEntry, replication: ReplicationView | undefined, nowMs: number): string[] {
  const lines = [`app:         ${app}`];
  const { current, holder } = state;
  if (current === undefined) lines.push("release:     none is live");
  else {
    const { release } = current;
    const commit = release.commit === undefined ? "" : `, commit ${release.commit.sha.slice(0, 10)}${release.commit.dirty ? "+" : ""}`;
    lines.push(
      `release:     v${release.version} (${shortDigest(release.image.digest)}${commit}), ${ageOf(release.createdAtMs, nowMs)} ago`,
    );
    if (current.url !== undefined) lines.push(`url:         ${current.url}`);
    for (const machine of current.machines) lines.push(`machine:     ${machine.id} on ${machine.host}: ${stateOf(machine)}`);
    if (replication !== undefined) lines.push(`replication: ${replicationText(replication)}`);
  }
  if (holder !== undefined) lines.push(`rolling out: v${holder.version}, run ${holder.key}`);
  for (const waiting of state.waiting) lines.push(`waiting:     run ${waiting.key}, ${ageOf(waiting.requestedAtMs, nowMs)}`);
  return lines;
}
