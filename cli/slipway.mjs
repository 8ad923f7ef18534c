#!/usr/bin/env node
// Starts the CLI: compiled JavaScript in an installed package, TypeScript in a checkout, there on a Node that runs it.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { fileURLToPath } from "node:url";

const compiled = new URL("../dist/cli/main.js", import.meta.url);
const source = new URL("./main.ts", import.meta.url);
const installed = import.meta.url.includes("/node_modules/") || !existsSync(source);

if (installed) {
  await start(compiled);
} else if (process.features.typescript) {
  await start(source);
} else {
  const node = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url));
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  // Ctrl-C reaches the whole process group by itself; SIGTERM does not
  process.on("SIGINT", () => undefined);
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  child.on("error", () => {
    process.stderr.write(`Error: Cannot run Slipway on Node ${process.version}: expected Node 24\nTry: npm ci\n`);
    process.exitCode = 1;
  });
  child.on("exit", (code) => {
    process.exitCode = code ?? 1;
  });
}

async function start(module) {
  enableCompileCache?.();
  const { main } = await import(module.href);
  await main(process.argv);
}
