import { listApps } from "../control-plane/apps.ts";
import { connectControlPlane } from "../control-plane/connect.ts";
import { listReplications } from "../control-plane/replication.ts";
import { requireSettings } from "../instance.ts";
import { printList } from "../output.ts";
import { replicationText } from "../render/end-lines.ts";
import { replicationJson } from "../render/result-json.ts";
import { ageOf, sizeOf, tableLines } from "../render/table.ts";
import { appFilter } from "./app-filter.ts";
import type { StatusOptions } from "./status.ts";

/** Images that were deployed, with the state of their replication. */
export async function imageList(options: StatusOptions): Promise<number> {
  const settings = requireSettings(options);
  const filter = appFilter(settings, options);
  await using controlPlane = await connectControlPlane(settings);
  const live = new Map(
    (await listApps(controlPlane, filter.org, undefined)).flatMap(({ state }) =>
      state.current === undefined
        ? []
        : [[`${state.current.release.source.repository}@${state.current.release.image.digest}`, state.current.release.version]],
    ),
  );
  const images = [];
  for await (const view of listReplications(controlPlane, filter.org)) {
    if (filter.app !== undefined && view.repository !== `${filter.org}/${filter.app}`) continue;
    images.push({ view, liveVersion: live.get(`${view.repository}@${view.digest}`) });
  }
  printList(options.output, {
    name: "images",
    items: images,
    json: ({ view, liveVersion }) => ({
      repository: view.repository,
      digest: view.digest,
      ...(liveVersion === undefined ? {} : { live_version: liveVersion }),
      replication: replicationJson(view),
    }),
    text: (all) =>
      tableLines(
        ["REPOSITORY", "DIGEST", "LIVE", "REPLICATION", "ATTEMPTS", "SENT", "SIZE", "NEXT"],
        all.map(({ view, liveVersion }) => [
          view.repository,
          view.digest,
          liveVersion === undefined ? "" : `v${liveVersion}`,
          replicationText(view),
          String(view.attempts),
          sizeOf(view.sentBytes),
          view.totalBytes === undefined ? "" : sizeOf(view.totalBytes),
          view.nextAttemptAtMs === undefined ? "" : `in ${ageOf(Date.now(), view.nextAttemptAtMs)}`,
        ]),
      ),
  });
  return 0;
}
