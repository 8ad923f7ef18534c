import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import { setTimeout as sleep } from "node:timers/promises";
import type { BuildLogEntry } from "../../builder/build-log.ts";
import { type RunName, buildLogName } from "../../config/build-log-name.ts";
import type { Settings } from "../../config/settings.ts";
import { urlHost } from "../../config/url-host.ts";

const retryMs = 300;

/** Lines of a log of the host's log server. */
async function* logLines(url: string, signal: AbortSignal): AsyncGenerator<string> {
  const answer = await fetch(url, { signal }).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new Error(`Cannot reach the log server at ${new URL(url).host}`, { cause });
  });
  if (!answer.ok || answer.body === null) {
    await answer.body?.cancel();
    throw new Error(`Cannot read ${url}: status ${answer.status}`);
  }
  const lines = createInterface({ input: Readable.fromWeb(answer.body as ReadableStream, { signal }), crlfDelay: Infinity });
  yield* lines;
}

const serverUrl = (settings: Settings): string => {
  const { host, port } = settings.logs.listen;
  return `http://${urlHost(host)}:${port}`;
};

const buildLogUrl = (settings: Settings, run: RunName, fromBytes: number, follow: boolean): string =>
  `${serverUrl(settings)}/builds/${buildLogName(run)}/log?from=${fromBytes}${follow ? "&follow=1" : ""}`;

/** A build's log over all attempts. Each of its lines is read once, by whichever of the two comes to it. */
export type BuildLogReader = {
  /**
   * Goes on until `signal`. The log is convenience: where it cannot be had (yet), it is tried again from where it was cut off, and a line
   * that cannot be read is passed over.
   */
  follow(signal: AbortSignal): AsyncGenerator<BuildLogEntry>;
  /** What is there by now and was not read yet. @throws when the log server does not answer */
  rest(signal: AbortSignal): AsyncGenerator<BuildLogEntry>;
};

export function openBuildLog(settings: Settings, run: RunName): BuildLogReader {
  let fromBytes = 0;

  async function* read(follow: boolean, signal: AbortSignal): AsyncGenerator<BuildLogEntry> {
    for await (const line of logLines(buildLogUrl(settings, run, fromBytes, follow), signal)) {
      const entry = parseEntry(line);
      // half a line, as the connection broke: it is asked for again
      if (entry === undefined && !line.endsWith("}")) return;
      fromBytes += Buffer.byteLength(line) + 1;
      if (entry !== undefined) yield entry;
    }
  }

  return {
    async *follow(signal) {
      while (!signal.aborted) {
        try {
          yield* read(true, signal);
        } catch {
          // absent until the build begins, or the host worker is being restarted
        }
        await sleep(retryMs, undefined, { signal }).catch(() => undefined);
      }
    },
    rest: (signal) => read(false, signal),
  };
}

export type MachineLogOptions = { readonly org: string; readonly machineId: string; readonly follow: boolean; readonly tail: number };

/** The output of a machine, line by line. @throws when the log server does not answer or has no such log. */
export function readMachineLog(settings: Settings, options: MachineLogOptions, signal: AbortSignal): AsyncGenerator<string> {
  const path = `/machines/${encodeURIComponent(options.org)}/${encodeURIComponent(options.machineId)}/log`;
  return logLines(`${serverUrl(settings)}${path}?tail=${options.tail}${options.follow ? "&follow=1" : ""}`, signal);
}

function parseEntry(line: string): BuildLogEntry | undefined {
  try {
    const entry: unknown = JSON.parse(line);
    return typeof entry === "object" && entry !== null && "type" in entry ? (entry as BuildLogEntry) : undefined;
  } catch {
    return undefined;
  }
}
