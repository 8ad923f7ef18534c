import { proxyActivities } from "@temporalio/workflow";
import type { DeployTokenActivities } from "../activities/types.ts";
import { controlWork } from "./policies.ts";
import type { DeployTokenView, NewDeployToken } from "./types.ts";

const tokens = proxyActivities<DeployTokenActivities>(controlWork);

/** Makes a deploy token known to the registry. Its secret stays with whoever asked: only a hash of it comes here. */
export async function createDeployToken({ expiresInMs, ...token }: NewDeployToken): Promise<DeployTokenView> {
  const createdAtMs = Date.now();
  const expiry = expiresInMs === undefined ? {} : { expiresAtMs: createdAtMs + expiresInMs };
  return tokens.writeDeployToken({ ...token, createdAtMs, ...expiry });
}

/** Every deploy token, the oldest first; of one org when it is named. */
export async function listDeployTokens({ org }: { readonly org?: string }): Promise<readonly DeployTokenView[]> {
  return tokens.readDeployTokens(org === undefined ? {} : { org });
}

/** Ends a deploy token, for good; null when there is none of that id. */
export async function revokeDeployToken({ id }: { readonly id: string }): Promise<DeployTokenView | null> {
  return tokens.markDeployTokenRevoked({ id, revokedAtMs: Date.now() });
}
