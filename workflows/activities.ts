import { type ActivityOptions, proxyActivities, proxyLocalActivities } from "@temporalio/workflow";
import type { BuildActivities, ControlActivities, ImageActivities, MachineActivities, RegistryActivities } from "../activities/types.ts";
import {
  buildWork,
  commitWork,
  controlWork,
  hostWork,
  promptControlWork,
  registryWork,
  removalWork,
  replicationWork,
  wakeWork,
} from "./policies.ts";

type Activities = BuildActivities & ControlActivities & ImageActivities & MachineActivities & RegistryActivities;
type Call<K extends keyof Activities> = (input: Parameters<Activities[K]>[0], summary?: string) => ReturnType<Activities[K]>;

const prompt = proxyLocalActivities<Pick<ControlActivities, "admitRun" | "askForTurn">>(promptControlWork);

/** Each call takes its input and, for the Temporal UI, a sentence of what it is about. */
export const control = {
  admitRun: prompt.admitRun,
  askForTurn: prompt.askForTurn,
  recordRelease: call("recordRelease", commitWork),
  recoverApp: call("recoverApp", controlWork),
  isRunOpen: call("isRunOpen", controlWork),
  collectLinks: call("collectLinks", registryWork),
  collectDigests: call("collectDigests", registryWork),
  sweepUploads: call("sweepUploads", registryWork),
  sweepStrayBytes: call("sweepStrayBytes", registryWork),
  scrubBlobs: call("scrubBlobs", registryWork),
  scrubRepositories: call("scrubRepositories", registryWork),
};

/** The activities of one host, each under the policy of its class. */
export function onHost(host: string) {
  const here = <K extends keyof Activities>(name: K, work: ActivityOptions): Call<K> => call(name, { ...work, taskQueue: `host:${host}` });
  return {
    wakeBuilder: here("wakeBuilder", wakeWork),
    build: here("build", buildWork),
    verifyImage: here("verifyImage", hostWork),
    pinImage: here("pinImage", hostWork),
    unpinImage: here("unpinImage", hostWork),
    pushUpstream: here("pushUpstream", replicationWork),
    /** The app's config says how long a machine may take to be healthy. */
    startMachine: (input: Parameters<Activities["startMachine"]>[0], summary?: string) =>
      here("startMachine", { ...hostWork, startToCloseTimeout: input.healthyWithinMs + 60_000 })(input, summary),
    switchRoute: here("switchRoute", commitWork),
    listMachines: here("listMachines", removalWork),
    removeMachine: here("removeMachine", removalWork),
  };
}

export type HostActivities = ReturnType<typeof onHost>;

function call<K extends keyof Activities>(name: K, options: ActivityOptions): Call<K> {
  return ((input, summary) => {
    const proxied = proxyActivities<Record<string, (argument: typeof input) => Promise<unknown>>>(
      summary === undefined ? options : { ...options, summary },
    );
    return proxied[name]!(input);
  }) as Call<K>;
}
