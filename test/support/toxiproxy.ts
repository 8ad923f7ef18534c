import { inject } from "vitest";
import { type Toxiproxy, startToxiproxy } from "./toxiproxy-process.ts";

export type { Toxiproxy } from "./toxiproxy-process.ts";

/** A TCP proxy whose connections can be made bad, with the tools of the test run. */
export const openToxiproxy = (upstream: string): Promise<Toxiproxy> => startToxiproxy(upstream, inject("toolsBinDir"));
