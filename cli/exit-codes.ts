import type { DeployErrorCode } from "../workflows/types.ts";

/** How a command ended, as far as its exit code goes. */
export type Outcome =
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly code: DeployErrorCode }
  /** arguments, slipway.toml, or a key that was used for another source */
  | { readonly kind: "usage" }
  | { readonly kind: "control plane unreachable" }
  | { readonly kind: "not replicated" }
  /** `registry scrub` found damage */
  | { readonly kind: "damaged" }
  | { readonly kind: "wait expired" }
  | { readonly kind: "interrupted" }
  | { readonly kind: "unexpected" };

const failed: Record<DeployErrorCode, number> = {
  UNEXPECTED: 1,
  CONFIG_INVALID: 2,
  BUILD_FAILED: 3,
  IMAGE_FAILED: 4,
  DEPLOY_UNHEALTHY: 6,
  ROLLOUT_FAILED: 6,
  SUPERSEDED: 9,
  CANCELLED: 9,
  BUILDER_UNAVAILABLE: 11,
};

/** The exit code is a function of the outcome and of nothing else (design, invariant 7). */
export function exitCodeOf(outcome: Outcome): number {
  switch (outcome.kind) {
    case "done":
      return 0;
    case "failed":
      return failed[outcome.code];
    case "usage":
      return 2;
    case "control plane unreachable":
      return 10;
    case "not replicated":
      return 12;
    case "damaged":
      return 13;
    case "wait expired":
      return 124;
    case "interrupted":
      return 130;
    case "unexpected":
      return 1;
  }
}
