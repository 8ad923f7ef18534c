import type { BuildEvent } from "./progress.ts";

/** The lines of a readable log for one event of a build, as `buildctl --progress=plain` would number them; often none. */
export function plainLines(event: BuildEvent): readonly string[] {
  const prefix = `#${event.step}`;
  switch (event.type) {
    case "started":
      return [`${prefix} ${event.name}`];
    case "completed":
      return [`${prefix} DONE ${seconds(event.durationMs)}`];
    case "cached":
      return [`${prefix} CACHED`];
    case "failed":
      return [`${prefix} ERROR: ${event.error}`];
    case "log":
      return [`${prefix} ${event.line}`];
    case "status":
      return event.done ? [`${prefix} ${event.id} done`] : [];
    case "warning":
      return [`${prefix} WARN: ${event.message}${event.line === undefined ? "" : ` (line ${event.line})`}`];
  }
}

const seconds = (durationMs: number): string => `${(durationMs / 1000).toFixed(1)}s`;
