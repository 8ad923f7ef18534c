/**
 * The line (from 1) where a key of a TOML text is written, found by scanning headers and `key =` lines: good for messages, and undefined
 * where the text is written in a way that this scan does not see (inline tables, dotted keys).
 */
export function tomlLine(text: string, path: readonly (string | number)[]): number | undefined {
  const wanted = path.filter((part) => typeof part === "string");
  const index = path.findLast((part) => typeof part === "number") ?? 0;
  const lines = text.split("\n");
  let table: string[] = [];
  let seen = -1;
  let deepest: { depth: number; line: number } | undefined;
  for (const [at, line] of lines.entries()) {
    const header = /^\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?$/.exec(line);
    if (header !== null) {
      table = header[1]!.split(".").map(unquote);
      if (startsWith(wanted, table)) {
        if (/^\s*\[\[/.test(line)) seen++;
        note(table.length, at);
      }
      continue;
    }
    const key = /^\s*("[^"]*"|'[^']*'|[A-Za-z0-9_-]+)\s*=/.exec(line);
    if (key !== null && startsWith(wanted, [...table, unquote(key[1]!)])) note(table.length + 1, at);
  }
  return deepest === undefined ? undefined : deepest.line + 1;

  function note(depth: number, line: number): void {
    if (deepest === undefined || depth > deepest.depth || (depth === deepest.depth && seen === index)) deepest = { depth, line };
  }
}

const unquote = (key: string): string => key.trim().replace(/^(["'])(.*)\1$/, "$2");
const startsWith = (path: readonly string[], prefix: readonly string[]): boolean =>
  prefix.length <= path.length && prefix.every((part, at) => part === path[at]);
