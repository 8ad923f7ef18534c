import type { Digest } from "../oci/digest.ts";
import type { Repository } from "../oci/repository.ts";
import type {
  DeployInput,
  DeployTokenView,
  GarbageCounts,
  HttpCheck,
  MachineGroup,
  MachineView,
  Release,
  ReplicateImageInput,
  ReplicationAttempt,
  ScrubReport,
  TurnRequest,
} from "../workflows/types.ts";

/** Activities of `host:<id>` that build. */
export interface BuildActivities {
  /** Heartbeats its phase: starting, listening, ready. Answers the builder's address within the org's network. */
  wakeBuilder(input: { org: string }): Promise<{ address: string; wokenFrom: "running" | "suspended" | "stopped" | "absent" }>;
  /** Solves and pushes `imageHost/org/app:tag`; the digest is the exporter's word, which `verifyImage` does not trust. */
  build(input: BuildInput): Promise<BuildOutput>;
}

export type BuildInput = {
  org: string;
  app: string;
  /** names the build's log, and with the attempt its tag */
  workflowId: string;
  runId: string;
  source: DeployInput["source"];
  build: DeployInput["config"]["build"];
  noCache: boolean;
  labels: Readonly<Record<string, string>>;
  sealedSecrets?: string;
};

export type BuildOutput = {
  repository: Repository;
  tag: string;
  imageName: string;
  exporterDigest: Digest;
  cachedSteps: number;
  steps: number;
};

/** Activities of `host:<id>` about images. */
export interface ImageActivities {
  /** Reads back from containerd what the mirror recorded under the tag: digest, all content, chain ids, snapshots. */
  verifyImage(input: {
    org: string;
    repository: Repository;
    tag: string;
    exporterDigest: Digest;
  }): Promise<{ digest: Digest; sizeBytes: number }>;
  /**
   * Makes an image that was built elsewhere ready to start from on this host: fetched from other hosts or the durable registry, unpacked,
   * recorded by its digest or the tag. What is here already is not fetched again. Idempotent.
   */
  pullImage(input: PullImageInput): Promise<{ digest: Digest; sizeBytes: number; fetchedBytes: number }>;
  /** Pins the digest with a lease of its own, so that the pin outlives the push. Idempotent. */
  pinImage(input: { org: string; repository: Repository; digest: Digest }): Promise<void>;
  /** Sends what upstream lacks, reads the manifest back by digest. Heartbeats how far it came; a failure says that, too. */
  pushUpstream(input: ReplicateImageInput): Promise<ReplicationAttempt>;
  /** Lets go of the replication's pin; only after the image is durable. */
  unpinImage(input: { org: string; repository: Repository; digest: Digest }): Promise<void>;
}

export type PullImageInput = { org: string; repository: Repository; digest: Digest; tag?: string };

/** Activities of `host:<id>` about machines. */
export interface MachineActivities {
  /**
   * Starts the machine and waits until every check of it has passed once; fails at once when it exits. Idempotent: the id is
   * deterministic, a machine of that id that runs the digest is taken as it is. Heartbeats the checks' answers.
   */
  startMachine(input: StartMachineInput): Promise<MachineView>;
  /**
   * Makes these machines the app's live ones, which the host keeps running, and sends new connections to `addresses` and none else;
   * without `port` the app takes no connections. Answers when the router has persisted it.
   */
  switchRoute(input: SwitchRouteInput): Promise<{ url?: string }>;
  /** Signal, wait, kill, remove with snapshot, network and lease. Idempotent. */
  removeMachine(input: { org: string; app: string; machineId: string; signal: string; timeoutMs: number }): Promise<void>;
  /** Machines of the app as containerd has them. */
  listMachines(input: { org: string; app: string }): Promise<MachineView[]>;
}

export type StartMachineInput = {
  org: string;
  app: string;
  version: number;
  group: MachineGroup;
  ordinal: number;
  image: { name: string; digest: Digest };
  env: Readonly<Record<string, string>>;
  /** none: alive for a moment is healthy */
  checks: readonly HttpCheck[];
  healthyWithinMs: number;
};

export type SwitchRouteInput = {
  org: string;
  app: string;
  /** every machine of the release, whether or not it takes connections */
  machineIds: readonly string[];
  port?: number;
  addresses: readonly string[];
};

/** Activities of `control`. */
export interface ControlActivities {
  /**
   * The host that builds and runs this app, and a release made earlier under this idempotency key: from the bucket, as it outlives
   * Temporal's retention.
   */
  admitRun(input: { org: string; app: string; key: string }): Promise<{ host: string; release?: Release }>;
  /** Written only if absent; a second write of the same release is a success. */
  recordRelease(input: { release: Release }): Promise<void>;
  /** Signal-with-start of `app`. */
  askForTurn(input: { org: string; app: string; request: TurnRequest }): Promise<void>;
  /** What the bucket knows of an app, for an `app` workflow that begins without a state: Temporal may have been lost. */
  recoverApp(input: { org: string; app: string }): Promise<{ nextVersion: number; release?: Release; host: string }>;
  /** Whether a run is still open: a turn whose holder is gone is taken back. */
  isRunOpen(input: { workflowId: string; runId: string }): Promise<boolean>;
}

/** What one pass of the garbage collection goes by, whatever of it is done again. */
export type GarbagePolicyInput = { graceMs: number; passStartedAtMs: number; dryRun: boolean };

/** Activities of `control` about the registry's bucket as a whole. Heartbeat how far they have come, and go on from there. */
export interface RegistryActivities {
  /** Condemns or removes blobs of repositories that no manifest there names. */
  collectLinks(input: GarbagePolicyInput): Promise<{ repositories: number; counts: GarbageCounts }>;
  /** Condemns or removes digests that no repository has, in the end with their bytes. */
  collectDigests(input: GarbagePolicyInput): Promise<GarbageCounts>;
  /** Removes uploads that were left behind; nothing in a dry run. */
  sweepUploads(input: { dryRun: boolean }): Promise<void>;
  /** Removes bytes that neither an upload nor a digest names, once a day. Answers how many they were. */
  sweepStrayBytes(input: { dryRun: boolean }): Promise<number>;
  /** Hashes the bytes of every digest. */
  scrubBlobs(input: { quarantine: boolean }): Promise<ScrubReport>;
  /** Follows every link, manifest and tag; with a repository only its, and hashes its blobs, too. */
  scrubRepositories(input: { quarantine: boolean; repository?: Repository }): Promise<ScrubReport>;
}

/** Activities of `control` about the registry's deploy tokens. */
export interface DeployTokenActivities {
  /** Written only if absent; a second write of the same token is a success. */
  writeDeployToken(token: DeployTokenView & { secretSha256: string }): Promise<DeployTokenView>;
  readDeployTokens(input: { org?: string }): Promise<DeployTokenView[]>;
  /** Null when there is none of that id. */
  markDeployTokenRevoked(input: { id: string; revokedAtMs: number }): Promise<DeployTokenView | null>;
}
