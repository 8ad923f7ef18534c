import { mayColour, progressStyle, toStderr, type OutputOptions } from "../output.ts";
import { createPlainRenderer } from "./plain-renderer.ts";
import type { Renderer } from "./renderer.ts";
import { createTtyRenderer } from "./tty-renderer.ts";

/** Progress for people on stderr: redrawn in place on a terminal, line after line elsewhere. */
export function createProgressRenderer(options: Pick<OutputOptions, "progress">): Renderer {
  const { stderr, env } = process;
  const deps = { write: toStderr, now: Date.now };
  if (progressStyle(options, env, stderr.isTTY) === "plain") return createPlainRenderer(deps);
  const size = () => ({ columns: stderr.columns || 80, rows: stderr.rows || 24 });
  return createTtyRenderer({ ...deps, size, colours: mayColour(env, stderr.isTTY) });
}
