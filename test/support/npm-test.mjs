// `npm test`, from a clean clone on whatever Node npm runs on: installs the packages when they are missing or not those of the lock
// file, then hands over to Node 24. Plain JavaScript, as nothing is installed yet when it starts.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const installed = path.join(root, "node_modules", ".package-lock.json");
const node = path.join(root, "node_modules", ".bin", "node");

if (!existsSync(node) || !existsSync(installed) || statSync(installed).mtimeMs < statSync(path.join(root, "package-lock.json")).mtimeMs) {
  run("npm", ["ci", "--no-audit", "--no-fund"]);
}
run(node, [path.join(root, "test/support/run-all.ts"), ...process.argv.slice(2)]);

/** @param {string} command @param {string[]} args */
function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (error !== undefined) console.error(`Cannot run "${command}": ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}
