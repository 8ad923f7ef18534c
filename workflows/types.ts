import type { ProvenanceMode, SbomRequest } from "../config/attestations.ts";
import type { Entitlement } from "../config/entitlements.ts";
import type { Digest } from "../oci/digest.ts";
import type { Repository } from "../oci/repository.ts";

/**
 * A source tree that was uploaded to `repository`: `digest` is that of the list of its packs, and in runs of before of its tar, a blob;
 * `sizeBytes` is the tar's.
 */
export type SourceRef = { readonly repository: Repository; readonly digest: Digest; readonly sizeBytes: number };

export type HttpCheck = {
  readonly path: string;
  readonly port: number;
  readonly method: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** failures before this much time has passed do not count */
  readonly gracePeriodMs: number;
};

/** One process group of an app, resolved from slipway.toml. Today every app has the group `app`. */
export type MachineGroup = {
  readonly name: string;
  readonly command?: readonly string[];
  readonly count: number;
  readonly memoryMb: number;
  readonly cpus: number;
};

/** slipway.toml, parsed and resolved: what a run needs and nothing of where it came from. */
export type ResolvedAppConfig = {
  readonly app: string;
  readonly env: Readonly<Record<string, string>>;
  readonly build: {
    readonly dockerfile: string;
    readonly target?: string;
    readonly args: Readonly<Record<string, string>>;
    readonly labels?: Readonly<Record<string, string>>;
    /** `os/architecture[/variant]`; absent: the builder's own */
    readonly platform?: string;
    /** by name: an address as BuildKit takes it, or a directory that was uploaded */
    readonly contexts?: Readonly<Record<string, string | SourceRef>>;
    /** attached to the image: how it was built, and what is in it */
    readonly provenance?: ProvenanceMode;
    readonly sbom?: SbomRequest;
    /** what steps that ask for it may have beyond their sandbox */
    readonly entitlements?: readonly Entitlement[];
  };
  readonly groups: readonly MachineGroup[];
  readonly http?: { readonly internalPort: number; readonly checks: readonly HttpCheck[] };
  readonly waitTimeoutMs: number;
  readonly killTimeoutMs: number;
  readonly killSignal: string;
};

export type DeployInput = {
  readonly org: string;
  readonly app: string;
  /** idempotency key: the last part of the workflow id */
  readonly key: string;
  readonly source: SourceRef;
  readonly config: ResolvedAppConfig;
  readonly commit?: { readonly sha: string; readonly dirty: boolean };
  readonly noCache: boolean;
  /** build secrets, sealed for the host and this run: nothing else opens them */
  readonly sealedSecrets?: string;
};

export const deployStages = ["wake", "build", "verify", "queue", "rollout", "record"] as const;
export type DeployStage = (typeof deployStages)[number];

export type StepStatus = "pending" | "running" | "done" | "failed" | "skipped";

export type StepView = {
  readonly name: DeployStage;
  readonly status: StepStatus;
  readonly startedAtMs?: number;
  readonly durationMs?: number;
  readonly note?: string;
};

export type ReleaseStatus = "building" | "queued" | "rolling out" | "live" | "failed" | "superseded" | "cancelled";

export type MachineView = {
  readonly id: string;
  readonly host: string;
  readonly group: string;
  readonly ordinal: number;
  readonly digest: Digest;
  readonly state: "created" | "running" | "stopped" | "unknown";
  readonly healthy: boolean;
  readonly address?: string;
};

/** What a run leaves behind for good; written once to the bucket. */
export type Release = {
  readonly org: string;
  readonly app: string;
  readonly version: number;
  readonly key: string;
  readonly runId: string;
  readonly image: { readonly name: string; readonly digest: Digest };
  readonly source: SourceRef;
  readonly config: ResolvedAppConfig;
  readonly commit?: { readonly sha: string; readonly dirty: boolean };
  readonly createdAtMs: number;
};

/** Closed: each maps to one exit code, in `cli/exit-codes.ts`, and nowhere else. */
export const deployErrorCodes = [
  "BUILD_FAILED",
  "IMAGE_FAILED",
  "BUILDER_UNAVAILABLE",
  "DEPLOY_UNHEALTHY",
  "ROLLOUT_FAILED",
  "SUPERSEDED",
  "CANCELLED",
  "CONFIG_INVALID",
  "UNEXPECTED",
] as const;
export type DeployErrorCode = (typeof deployErrorCodes)[number];

export type DeployError = {
  readonly code: DeployErrorCode;
  readonly stage: DeployStage;
  readonly message: string;
  readonly retryable: boolean;
  /** the last lines of the failed build step or machine, stripped of control characters */
  readonly logTail: readonly string[];
  /** what serves traffic now, in words */
  readonly serving: string;
};

/** The answer of the `deploy` workflow's `run` query, and what its result is made of. */
export type RunView = {
  readonly workflowId: string;
  readonly runId: string;
  readonly org: string;
  readonly app: string;
  readonly key: string;
  readonly status: ReleaseStatus;
  readonly steps: readonly StepView[];
  readonly startedAtMs: number;
  readonly host?: string;
  readonly image?: { readonly name: string; readonly digest: Digest; readonly sizeBytes: number };
  readonly version?: number;
  readonly previousVersion?: number;
  readonly machines: readonly MachineView[];
  readonly url?: string;
  readonly replicationWorkflowId?: string;
  readonly error?: DeployError;
};

export type DeployResult = RunView & { readonly changed: boolean };

/** `stopped`: ended by an operator or lost, and not durable; no workflow says that of itself. */
export type ReplicationStatus = "pending" | "running" | "retrying" | "durable" | "stopped";

/** How far one attempt to bring an image upstream came, and how long upstream asked to be left alone. */
export type ReplicationAttempt = {
  readonly sentBytes: number;
  readonly skippedBytes: number;
  readonly totalBytes: number;
  readonly retryAfterMs?: number;
};

export type ReplicationView = {
  readonly org: string;
  readonly repository: Repository;
  readonly digest: Digest;
  readonly status: ReplicationStatus;
  /** begun so far, the current one included */
  readonly attempts: number;
  /** by all attempts that have ended */
  readonly sentBytes: number;
  /** of the image with all that it names, once an attempt has told */
  readonly totalBytes?: number;
  readonly lastError?: string;
  /** while it waits between two attempts */
  readonly nextAttemptAtMs?: number;
};

export type ReplicateImageInput = {
  readonly org: string;
  readonly host: string;
  readonly repository: Repository;
  readonly digest: Digest;
  readonly tag: string;
  /** carried over continue-as-new */
  readonly attempts?: number;
  readonly carried?: CarriedReplication;
};

export type CarriedReplication = {
  /** attempts in a row that brought upstream no further */
  readonly failures: number;
  /** the most that upstream had of the image after an attempt */
  readonly furthestBytes: number;
  readonly sentBytes: number;
  readonly totalBytes?: number;
  readonly lastError?: string;
  readonly delayMs: number;
};

export type AppInput = { readonly org: string; readonly app: string; readonly state?: AppState };

export type TurnRequest = {
  /** workflow id of the run that asks */
  readonly workflowId: string;
  readonly runId: string;
  readonly key: string;
  /** start of the run: the newest request wins */
  readonly requestedAtMs: number;
  /** where the run makes its machines: they are swept there if it is lost */
  readonly host: string;
};

export type CurrentRelease = { readonly release: Release; readonly machines: readonly MachineView[]; readonly url?: string };

export type HistoryEntry = {
  readonly version: number;
  readonly workflowId: string;
  readonly status: "live" | "failed" | "cancelled" | "lost";
  readonly atMs: number;
};

export type AppState = {
  readonly nextVersion: number;
  readonly current?: CurrentRelease;
  readonly holder?: TurnRequest & { readonly version: number };
  readonly waiting: readonly TurnRequest[];
  /** when the run behind `current` asked: an older run that comes late is superseded by it */
  readonly currentRequestedAtMs?: number;
  readonly history: readonly HistoryEntry[];
};

/** What a pass of the garbage collection did to records of one kind, or would do. */
export type GarbageCounts = {
  readonly condemned: number;
  /** together, of those condemned */
  readonly condemnedBytes: number;
  readonly removed: number;
  readonly removedBytes: number;
  /** records that cannot be read; `slipway registry scrub` names them */
  readonly damaged: number;
};

export type CollectGarbageInput = {
  /** tells what would be done and changes nothing */
  readonly dryRun: boolean;
  /** how long something is unreferenced before it is condemned, and condemned before it is removed */
  readonly graceMs: number;
};

export type GarbageReport = {
  readonly dryRun: boolean;
  readonly repositories: number;
  /** that a repository has a blob */
  readonly links: GarbageCounts;
  /** digests with their bytes */
  readonly blobs: GarbageCounts;
  /** bytes that neither an upload nor a digest names; they are looked for once a day */
  readonly strays: number;
};

export type ScrubInput = { readonly repository?: Repository; readonly quarantine: boolean };

export type Damage = {
  readonly kind: "blob bytes" | "blob record" | "link" | "manifest" | "tag";
  readonly key: string;
  readonly expected: string;
  readonly found: string;
  readonly quarantined: boolean;
};

export type ScrubReport = {
  readonly blobs: number;
  readonly bytes: number;
  readonly links: number;
  readonly manifests: number;
  readonly tags: number;
  readonly damaged: number;
  /** the first of them */
  readonly damages: readonly Damage[];
};

/** What a deploy token of the registry lets one do, in the repositories of an org or of one app of it. */
export type DeployTokenAction = "pull" | "push" | "delete";

export type DeployTokenView = {
  readonly id: string;
  readonly name: string;
  readonly org: string;
  readonly app?: string;
  readonly actions: readonly DeployTokenAction[];
  readonly createdAtMs: number;
  readonly expiresAtMs?: number;
  readonly revokedAtMs?: number;
};

/** The secret of the token is 256 random bits, so that its hash tells nothing. */
export type NewDeployToken = Pick<DeployTokenView, "id" | "name" | "org" | "app" | "actions"> & {
  readonly secretSha256: string;
  readonly expiresInMs?: number;
};
