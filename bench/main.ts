/** `npm run bench -- NAME`: runs one bench; progress on stderr, its figures as one JSON object on the last line of stdout. */
import { machineFacts } from "./machine-facts.ts";

const benches = {
  build: () => import("./build/build.ts"),
  "cli-start": () => import("./cli-start.ts"),
  deploy: () => import("./deploy/deploy.ts"),
  fanout: () => import("./fanout/fanout.ts"),
  headline: () => import("./headline/headline.ts"),
  push: () => import("./push/push.ts"),
  ready: () => import("./ready/ready.ts"),
  registry: () => import("./registry/registry.ts"),
  upload: () => import("./upload/upload.ts"),
  wake: () => import("./wake/wake.ts"),
} as const;

export type Bench = { run(args: readonly string[]): Promise<Record<string, unknown>> };

const [name = "", ...args] = process.argv.slice(2);
if (!(name in benches)) {
  console.error(`Cannot find bench "${name}": expected one of ${Object.keys(benches).join(", ")}`);
  process.exit(2);
}
const bench: Bench = await benches[name as keyof typeof benches]();
const figures = await bench.run(args);
console.log(JSON.stringify({ bench: name, ...figures, machine: await machineFacts() }));
