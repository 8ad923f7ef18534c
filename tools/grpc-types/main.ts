import { generateGrpcTypes } from "./generate.ts";

const abort = new AbortController();
process.once("SIGINT", () => abort.abort(new Error("Interrupted")));
try {
  console.error(`proto/gen: ${await generateGrpcTypes((line) => console.error(line), abort.signal)}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
