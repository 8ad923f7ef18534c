import type { CellResult, Results } from "./results.ts";
import { type DeploySummary, summarize } from "./summarize.ts";

const width = 860;
const labelWidth = 210;
const barsWidth = 480;
const rowHeight = 42;
const headHeight = 84;
const groupHeight = 34;
const barHeight = 13;
const colours = { direct: "#b0b7c3", mirror: "#0f7b6c", text: "#1f2430", faint: "#6b7280", ground: "#ffffff" };

type Row = { readonly label: string; readonly times: DeploySummary };
type Group = { readonly title: string; readonly rows: readonly Row[] };

/** The medians as a picture: a group per link with a scale of its own, and for each deploy a bar by the far registry above one by the mirror. */
export function renderSvg(results: Results): string {
  const lines: string[] = [];
  let top = headHeight;
  for (const { title, rows } of groupsOf(results)) {
    lines.push(text(16, top + 22, title, { weight: 600 }));
    top += groupHeight;
    const mostMs = Math.max(...rows.flatMap(({ times }) => [times.directMs, times.mirrorMs]));
    for (const row of rows) {
      lines.push(...rowOf(row, top, (ms) => Math.max(1, Math.round((ms / mostMs) * barsWidth))));
      top += rowHeight;
    }
  }
  const height = top + 8;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" font-family="system-ui, sans-serif">`,
    `<title>Time of a deploy by a far registry and by the mirror</title>`,
    `<rect width="100%" height="100%" fill="${colours.ground}"/>`,
    text(16, 30, "From a cached build, builder asleep, to an image that can be started", { size: 18, weight: 600 }),
    ...legend(52),
    ...lines,
    `</svg>`,
    "",
  ].join("\n");
}

function groupsOf(results: Results): Group[] {
  const summaries = summarize(results);
  const named = Object.entries(results.cells).filter(([name]) => name in summaries);
  const links = new Map<string, Row[]>();
  for (const [name, cell] of named.toSorted(([, one], [, other]) => order(one, other))) {
    const title = `Registry ${cell.roundTripMs} ms away, ${cell.linkMbit >= 1000 ? `${cell.linkMbit / 1000} Gbit/s` : `${cell.linkMbit} Mbit/s`}`;
    const rows = links.get(title) ?? [];
    links.set(title, rows);
    const summary = summaries[name]!;
    rows.push({ label: `${cell.sizeMb} MB, first deploy`, times: summary.first });
    rows.push({ label: `${cell.sizeMb} MB, code changed`, times: summary.redeploy });
  }
  return [...links].map(([title, rows]) => ({ title, rows }));
}

const order = (one: CellResult, other: CellResult): number =>
  one.roundTripMs - other.roundTripMs || other.linkMbit - one.linkMbit || one.sizeMb - other.sizeMb;

function rowOf({ label, times }: Row, top: number, x: (ms: number) => number): string[] {
  const bar = (y: number, ms: number, colour: string, said: string): string[] => [
    `<rect x="${labelWidth}" y="${y}" width="${x(ms)}" height="${barHeight}" rx="2" fill="${colour}"/>`,
    text(labelWidth + x(ms) + 6, y + barHeight - 2, said, { size: 11 }),
  ];
  return [
    text(labelWidth - 10, top + barHeight + 5, label, { anchor: "end", size: 12 }),
    ...bar(top, times.directMs, colours.direct, durationOf(times.directMs)),
    ...bar(top + barHeight + 2, times.mirrorMs, colours.mirror, `${durationOf(times.mirrorMs)} · ${comparison(times.ratio)}`),
  ];
}

const comparison = (ratio: number): string => (ratio >= 1 ? `${ratio}× faster` : `${Number((1 / ratio).toFixed(1))}× slower`);

function legend(y: number): string[] {
  const entry = (x: number, colour: string, said: string): string[] => [
    `<rect x="${x}" y="${y}" width="${barHeight}" height="${barHeight}" rx="2" fill="${colour}"/>`,
    text(x + barHeight + 6, y + barHeight - 2, said, { size: 12, colour: colours.faint }),
  ];
  return [
    ...entry(16, colours.direct, "push to the registry, pull from it, unpack"),
    ...entry(320, colours.mirror, "push to the mirror on the same host (medians; a scale for each link)"),
  ];
}

const durationOf = (ms: number): string => (ms < 1_000 ? `${Math.round(ms)} ms` : `${Number((ms / 1_000).toPrecision(3))} s`);

type TextStyle = { readonly anchor?: "end" | "middle"; readonly size?: number; readonly weight?: number; readonly colour?: string };

function text(x: number, y: number, said: string, { anchor, size = 13, weight, colour = colours.text }: TextStyle = {}): string {
  const style = [`font-size="${size}"`, `fill="${colour}"`];
  if (anchor !== undefined) style.push(`text-anchor="${anchor}"`);
  if (weight !== undefined) style.push(`font-weight="${weight}"`);
  return `<text x="${x}" y="${y}" ${style.join(" ")}>${said}</text>`;
}
