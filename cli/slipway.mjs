#!/usr/bin/env node
// The command. A packed install holds JavaScript, which any supported Node runs; a checkout holds TypeScript, which is run by the
// Node of its dev dependencies. Kept in plain JavaScript and without imports it does not need: it starts on every call.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("main.ts", import.meta.url));
if (!existsSync(source)) await import(new URL("../dist/cli/main.js", import.meta.url).href);
else runInCheckout(fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url)));

/** @param {string} node */
function runInCheckout(node) {
  if (!existsSync(node)) {
    console.error(`Cannot find "${node}"; run: npm ci`);
    process.exit(2);
  }
  const { SLIPWAY_CACHE, XDG_CACHE_HOME } = process.env;
  const cache = SLIPWAY_CACHE || `${XDG_CACHE_HOME || `${homedir()}/.cache`}/slipway`;
  const env = { NODE_COMPILE_CACHE: `${cache}/compiled`, ...process.env };
  const child = spawn(node, ["--disable-warning=ExperimentalWarning", source, ...process.argv.slice(2)], { stdio: "inherit", env });
  child.once("error", (error) => {
    console.error(`Cannot run "${node}": ${error.message}`);
    process.exit(2);
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]) {
    // Ctrl-C reaches the child without us: the terminal signals the whole group
    const fromTerminal = process.stdin.isTTY && (signal === "SIGINT" || signal === "SIGQUIT");
    process.on(signal, () => fromTerminal || child.kill(signal));
  }
  child.once("exit", (code, signal) => {
    if (signal === null) return process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
