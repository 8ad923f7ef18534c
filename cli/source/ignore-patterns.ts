/**
 * `.dockerignore` as Docker reads it (moby/patternmatcher): Go's filepath.Match with `**`, a pattern also covers everything below
 * what it matches, `!` takes paths back, the last pattern that matches decides.
 */
export type IgnorePatterns = {
  /** true when the path (relative, with "/") is left out */
  ignores(path: string): boolean;
  /** some `!` pattern: below an ignored directory there may be files that are not */
  readonly hasExceptions: boolean;
};

type Pattern = { readonly exception: boolean; readonly shape: RegExp };

/** @throws SyntaxError naming the pattern that is malformed. */
export function parseIgnorePatterns(text: string): IgnorePatterns {
  const patterns = patternLines(text).map(toPattern);
  const ignores = (path: string): boolean => {
    const parts = path.split("/");
    let ignored = false;
    for (const { exception, shape } of patterns) {
      // only a pattern that could change the verdict needs to be tried
      if (ignored !== exception) continue;
      if (matchesOrParentMatches(parts, shape)) ignored = !exception;
    }
    return ignored;
  };
  return { ignores, hasExceptions: patterns.some((pattern) => pattern.exception) };
}

function patternLines(text: string): string[] {
  return text
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .filter((line) => !line.startsWith("#"))
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

function toPattern(line: string): Pattern {
  const exception = line.startsWith("!");
  const cleaned = cleanPath(exception ? line.slice(1).trim() : line);
  if (exception && cleaned === "") throw new SyntaxError(`Cannot read ignore pattern "${line}": expected a path after "!"`);
  try {
    return { exception, shape: new RegExp(`^${toRegExp(cleaned)}$`, "su") };
  } catch (cause) {
    throw new SyntaxError(`Cannot read ignore pattern "${line}": expected a pattern such as "dir/*.log"`, { cause });
  }
}

/** Go's filepath.Clean, and no leading "/": every pattern is relative to the source directory. */
function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else parts.push(part);
  }
  return parts.join("/");
}

function toRegExp(pattern: string): string {
  let source = "";
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at]!;
    if (char === "*" && pattern[at + 1] === "*") {
      at++;
      if (pattern[at + 1] === "/") at++;
      source += at + 1 >= pattern.length ? ".*" : "(.*/)?";
    } else if (char === "*") source += "[^/]*";
    else if (char === "?") source += "[^/]";
    else if (char === "[") {
      const end = classEnd(pattern, at);
      source += classSource(pattern.slice(at + 1, end));
      at = end;
    } else if (char === "\\") source += escapeChar(pattern[++at] ?? "\\");
    else source += escapeChar(char);
  }
  return source;
}

const escapeChar = (char: string): string => char.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");

function classEnd(pattern: string, start: number): number {
  for (let at = start + 1; at < pattern.length; at++) {
    if (pattern[at] === "\\") at++;
    else if (pattern[at] === "]" && at > start + 1) return at;
  }
  throw new SyntaxError("the bracket [ is never closed");
}

function classSource(members: string): string {
  const negated = members.startsWith("^");
  const rest = (negated ? members.slice(1) : members).replace(/\\(.)|([[\]])/gs, (_all, escaped, bracket) => `\\${escaped ?? bracket}`);
  return `(?!/)[${negated ? "^" : ""}${rest}]`;
}

/** A pattern covers what it matches and everything below it. */
function matchesOrParentMatches(parts: readonly string[], shape: RegExp): boolean {
  for (let length = parts.length; length >= 1; length--) if (shape.test(parts.slice(0, length).join("/"))) return true;
  return false;
}
