#!/usr/bin/env node
// The command. A packed install holds JavaScript, which any supported Node runs; a checkout holds TypeScript, which this Node runs when
// it can, and else the Node of the dev dependencies. Plain JavaScript without imports it does not need: it starts on every call.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import nodeModule from "node:module";
import { homedir } from "node:os";
import { fileURLToPath } from "node:url";

const { SLIPWAY_CACHE, XDG_CACHE_HOME } = process.env;
const compileCache = `${SLIPWAY_CACHE || `${XDG_CACHE_HOME || `${homedir()}/.cache`}/slipway`}/compiled`;
const source = new URL("main.ts", import.meta.url);
// from 24 on: the sources hold `await using`, which is no type that could be stripped
const runsSource = Boolean(process.features.typescript) && Number.parseInt(process.versions.node) >= 24;

if (!existsSync(source)) await start(new URL("../dist/cli/main.js", import.meta.url));
else if (runsSource) await start(source);
else startWith(fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url)));

/** @param {URL} entry */
async function start(entry) {
  nodeModule.enableCompileCache?.(process.env.NODE_COMPILE_CACHE ?? compileCache);
  await import(entry.href);
}

/** @param {string} node */
function startWith(node) {
  if (!existsSync(node)) {
    const rebuild = existsSync(new URL("../node_modules", import.meta.url))
      ? "npm rebuild node (its install script did not run)"
      : "npm ci";
    console.error(`Cannot run the sources on Node ${process.version}, and "${node}" is missing; run: ${rebuild}`);
    process.exit(2);
  }
  const env = { NODE_COMPILE_CACHE: compileCache, ...process.env };
  const child = spawn(node, ["--disable-warning=ExperimentalWarning", fileURLToPath(source), ...process.argv.slice(2)], {
    stdio: "inherit",
    env,
  });
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
