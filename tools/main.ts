import { installTools } from "./install.ts";
import { type ToolGroup, toolGroups } from "./recipes.ts";

const groups = process.argv.slice(2).filter((name): name is ToolGroup => toolGroups.some((group) => group === name));
const abort = new AbortController();
process.once("SIGINT", () => abort.abort(new Error("Interrupted")));
const tools = await installTools({ groups, progress: (line) => console.error(line), signal: abort.signal });
console.log(JSON.stringify(tools));
