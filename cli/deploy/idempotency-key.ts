import { randomBytes } from "node:crypto";
import { digestEncoded, digestOf } from "../../oci/digest.ts";
import { CliError } from "../errors.ts";

export type KeyChoice = {
  readonly key: string;
  /** nobody else can have used it */
  readonly fresh: boolean;
};

const keyShape = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
type Environment = Readonly<Record<string, string | undefined>>;

/** The variables that name one job of one CI run, without its attempt: "re-run failed jobs" meets the same key. */
const providers: readonly { name: string; present: string; parts: readonly string[] }[] = [
  { name: "github", present: "GITHUB_RUN_ID", parts: ["GITHUB_REPOSITORY", "GITHUB_RUN_ID", "GITHUB_JOB"] },
  // a job's id is new with each retry, its name is not
  { name: "gitlab", present: "CI_PIPELINE_ID", parts: ["CI_PROJECT_PATH", "CI_PIPELINE_ID", "CI_JOB_NAME"] },
  { name: "buildkite", present: "BUILDKITE_BUILD_ID", parts: ["BUILDKITE_PIPELINE_SLUG", "BUILDKITE_BUILD_ID", "BUILDKITE_STEP_KEY"] },
  { name: "circleci", present: "CIRCLE_WORKFLOW_ID", parts: ["CIRCLE_PROJECT_REPONAME", "CIRCLE_WORKFLOW_ID", "CIRCLE_JOB"] },
  { name: "jenkins", present: "BUILD_TAG", parts: ["JOB_NAME", "BUILD_TAG"] },
];

/**
 * The idempotency key of a deploy: the one that was given; in CI one that names the job; else a random one, as each `deploy` at a
 * terminal is a run of its own.
 */
export function chooseKey(given: string | undefined, app: string, environment: Environment, now: Date): KeyChoice {
  if (given !== undefined) {
    if (keyShape.test(given)) return { key: given, fresh: false };
    throw new CliError(`Cannot use idempotency key "${given}": expected 1 to 128 of letters, digits, ".", "_" and "-"`);
  }
  const provider = environment.CI === undefined ? undefined : providers.find((candidate) => environment[candidate.present] !== undefined);
  if (provider !== undefined) {
    const parts = provider.parts.map((name) => environment[name] ?? "");
    return { key: `${provider.name}-${digestEncoded(digestOf([...parts, app].join("\n"))).slice(0, 20)}`, fresh: false };
  }
  const day = now.toISOString().replace(/[-:]/g, "").slice(0, 15).toLowerCase();
  return { key: `${day}-${randomBytes(3).toString("hex")}`, fresh: true };
}
